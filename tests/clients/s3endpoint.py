"""What a client has to know of the stack."""

from dataclasses import dataclass

from hstor import Hstor


@dataclass(frozen=True)
class Endpoint:
    """Where the stack serves S3, and its user: the variables that `hailbox env` prints."""

    variables: dict[str, str]

    @property
    def url(self) -> str:
        return self.variables["AWS_ENDPOINT_URL"]

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.removeprefix("http://")

    @property
    def key(self) -> str:
        return self.variables["AWS_ACCESS_KEY_ID"]

    @property
    def secret(self) -> str:
        return self.variables["AWS_SECRET_ACCESS_KEY"]

    def hstor(self, *, subdomain: str = "") -> Hstor:
        """A connection of the client of 2010, which the tests also use to look from another side."""
        return Hstor(self.url, self.key, self.secret, subdomain=subdomain)
