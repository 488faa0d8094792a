"""TLS around DICOM, either way: 1.2 and newer, ciphers by OpenSSL's defaults (PS3.15, annex B; BCP 195)."""

from __future__ import annotations

import ssl
from typing import Any

from contracts.errors import Misconfigured
from contracts.settings import Settings


class _Patient(ssl.SSLContext):
    """Shakes hands when an association's own thread first reads: a peer that says nothing keeps nobody else waiting."""

    def wrap_socket(self, *given: Any, **named: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*given, **{**named, "do_handshake_on_connect": False})


def of_the_gateway(settings: Settings) -> ssl.SSLContext | None:
    """What the gateway shows, and whom it demands to show something; None where it speaks without TLS.

    Raises Misconfigured, which names the setting, for files that are not there or hold something else.
    """
    if not settings.dicom_tls_cert:
        for name in ("dicom_tls_key", "dicom_tls_clients"):
            if getattr(settings, name):
                raise Misconfigured(f"WARD_{name.upper()} is of no use without WARD_DICOM_TLS_CERT")
        return None
    context = _Patient(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _show(context, settings)
    if settings.dicom_tls_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, "WARD_DICOM_TLS_CLIENTS", settings.dicom_tls_clients)
    return context


def of_the_return(settings: Settings) -> ssl.SSLContext | None:
    """Whom results are given to as C-STORE: a peer whose certificate is of one of these authorities and of the host
    that was asked for; None where that goes without TLS. It is shown the gateway's certificate, where there is one."""
    if not settings.return_tls_ca:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _trust(context, "WARD_RETURN_TLS_CA", settings.return_tls_ca)
    if settings.dicom_tls_cert:
        _show(context, settings)
    return context


def _show(context: ssl.SSLContext, settings: Settings) -> None:
    try:
        context.load_cert_chain(str(settings.dicom_tls_cert), settings.dicom_tls_key or None, password=_no_password)
    except (OSError, ValueError) as wrong:
        files = f"{settings.dicom_tls_cert} and {settings.dicom_tls_key or 'the same file'}"
        raise Misconfigured(
            f"WARD_DICOM_TLS_CERT, WARD_DICOM_TLS_KEY: {files} are no PEM certificate and its key without a password "
            f"({wrong})"
        ) from wrong


def _trust(context: ssl.SSLContext, setting: str, file: str) -> None:
    try:
        context.load_verify_locations(file)
    except OSError as wrong:
        raise Misconfigured(f"{setting}: {file} holds no PEM certificates of authorities ({wrong})") from wrong


def _no_password() -> str:
    raise ValueError("the key has a password")
