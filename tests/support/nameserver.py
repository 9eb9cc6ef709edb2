"""Nameserver outside the cluster, run as a program with its address: knows outside.example, and no other name, over UDP.

It writes a line when it serves, and ends with its input.
"""

from __future__ import annotations

import select
import socket
import sys

from dnslib import QTYPE, RR, A, DNSRecord


def main() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], 53))
    print("serves", flush=True)
    while True:
        ready, _, _ = select.select([server, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        data, peer = server.recvfrom(4096)
        query = DNSRecord.parse(data)
        answer = query.reply()
        if str(query.q.qname) == "outside.example." and query.q.qtype == QTYPE.A:
            answer.add_answer(RR("outside.example.", rdata=A("198.51.100.7"), ttl=1))
        else:
            answer.header.rcode = 3
        server.sendto(answer.pack(), peer)


if __name__ == "__main__":
    main()
