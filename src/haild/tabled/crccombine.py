"""The CRC of a whole from the CRCs of its parts, for the full-object checksums of multipart uploads.

A CRC register is a polynomial over GF(2); appending n zero bytes multiplies it by x^(8n). Method as in zlib's
crc32_combine, for any reflected CRC whose initial value and final complement are all ones.
"""

from __future__ import annotations

from haild.tabled.checksums import CRC32C, CRC64NVME

CRC32 = (32, 0xEDB88320)
PARAMETERS = {"crc32": CRC32, "crc32c": CRC32C, "crc64nvme": CRC64NVME}


def _multiply(a: int, b: int, width: int, polynomial: int) -> int:
    """Product of two reflected polynomials modulo the CRC's: the highest bit stands for x^0."""
    product = 0
    mask = 1 << (width - 1)
    while mask:
        if a & mask:
            product ^= b
        b = b >> 1 ^ (polynomial if b & 1 else 0)
        mask >>= 1
    return product


def _power_of_x(exponent: int, width: int, polynomial: int) -> int:
    result, base = 1 << (width - 1), 1 << (width - 2)
    while exponent:
        if exponent & 1:
            result = _multiply(result, base, width, polynomial)
        base = _multiply(base, base, width, polynomial)
        exponent >>= 1
    return result


def combine(algorithm: str, first: bytes, second: bytes, second_length: int) -> bytes:
    """The CRC of a followed by b, from both CRCs (big-endian) and the length of b in bytes."""
    width, polynomial = PARAMETERS[algorithm]
    shift = _power_of_x(8 * second_length, width, polynomial)
    moved = _multiply(shift, int.from_bytes(first, "big"), width, polynomial)
    return (moved ^ int.from_bytes(second, "big")).to_bytes(width // 8, "big")
