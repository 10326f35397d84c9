"""Why an image was not registered.

RegistrationError            base of all
  ParameterError             the request lacks a parameter, or names no provider
  NotRegistrableError        this type of provider registers nothing
  RegistrationFailedError    the program failed or did not say how it went
"""

from __future__ import annotations


class RegistrationError(Exception):
    """The image was not registered; the text says why."""


class ParameterError(RegistrationError):
    """A parameter is missing or cannot be used."""


class NotRegistrableError(RegistrationError):
    """No program registers images with this type of provider."""


class RegistrationFailedError(RegistrationError):
    """The program failed, or ended without saying how it went."""
