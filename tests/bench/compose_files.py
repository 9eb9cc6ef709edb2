"""Compose files of benchmarks. Pure."""

SMALL_SERVICE = """  service{number}:
    image: {image}
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
"""
LARGE_SERVICE = """  service{number}:
    image: registry.example.com/team/app:${{TAG:-1.0}}
    command: ["serve", "--port", "80", "--name=service{number}"]
    environment:
      LEVEL: ${{LEVEL:-info}}
      DATABASE: postgres://database/service{number}
    networks: [front, back]
    ports: ["{port}:80"]
    volumes: ["data:/var/lib/data"]
    labels:
      com.example.part: part{number}
    healthcheck:
      test: ["CMD", "true"]
      interval: 10s
    deploy:
      replicas: 2
      resources:
        limits:
          memory: 64M
          cpus: "0.5"
"""
OBJECTS = """networks:
  front: {}
  back: {}
volumes:
  data: {}
"""
FIRST_PORT = 20_000


def small_services(count: int, image: str, more: str = "") -> str:
    """A file of services that only sleep; ``more`` are further lines of each."""
    services = (SMALL_SERVICE.format(number=number, image=image) + more for number in range(count))
    return "services:\n" + "".join(services)


def large_services(count: int) -> str:
    """A file of services with the usual keys, which are interpolated, on two networks and a volume; at most 45,535."""
    services = (LARGE_SERVICE.format(number=number, port=FIRST_PORT + number) for number in range(count))
    return "services:\n" + "".join(services) + OBJECTS
