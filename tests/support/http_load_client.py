"""HTTP client that asks all the time, run inside a namespace of a test: `python3 http_load_client.py PORT ADDRESS...`.

Each request is a new connection to the next address. It asks until its input closes, then prints the number of requests, and before that
a line for each that failed.
"""

import http.client
import select
import sys
import time

SECONDS = 5.0


def ask(address: str, port: int) -> None:
    connection = http.client.HTTPConnection(address, port, timeout=SECONDS)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise OSError(f"status {answer.status}")
    finally:
        connection.close()


def main() -> None:
    port, addresses, count = int(sys.argv[1]), sys.argv[2:], 0
    print("serves", flush=True)
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        for address in addresses:
            count += 1
            try:
                ask(address, port)
            except (OSError, http.client.HTTPException) as error:
                print(f"{time.time():.3f} {address}: {error!r}", flush=True)
    print(count, flush=True)


if __name__ == "__main__":
    main()
