"""The real engine, through the `docker` package: the only place that imports it."""

from hailbox.engine.docker.engine import DockerEngine

__all__ = ["DockerEngine"]
