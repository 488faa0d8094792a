"""What the files of TLS must be, before anything listens."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from contracts.errors import Misconfigured
from contracts.settings import Settings
from producers.dicom_tls import of_the_gateway, of_the_return


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def one_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """Certificate and key in one."""
    path = tmp_path / "both.pem"
    authority.issue_cert("gateway.example").private_key_and_cert_chain_pem.write_to_path(path)
    return path


def test_without_files_nothing_is_said_of_tls() -> None:
    assert of_the_gateway(Settings()) is None
    assert of_the_return(Settings()) is None


def test_no_older_protocol_is_spoken_and_senders_are_asked_who_they_are_only_where_authorities_are_named(
    authority: trustme.CA, one_file: Path, tmp_path: Path
) -> None:
    anybody = of_the_gateway(Settings(dicom_tls_cert=str(one_file)))
    assert anybody is not None
    assert (anybody.minimum_version, anybody.verify_mode) == (ssl.TLSVersion.TLSv1_2, ssl.CERT_NONE)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    known = of_the_gateway(Settings(dicom_tls_cert=str(one_file), dicom_tls_clients=str(tmp_path / "authority.pem")))
    assert known is not None
    assert known.verify_mode == ssl.CERT_REQUIRED
    back = of_the_return(Settings(return_tls_ca=str(tmp_path / "authority.pem")))
    assert back is not None
    assert (back.minimum_version, back.verify_mode, back.check_hostname) == (
        ssl.TLSVersion.TLSv1_2,
        ssl.CERT_REQUIRED,
        True,
    )


def test_files_that_cannot_work_are_named_by_their_setting(one_file: Path, tmp_path: Path) -> None:
    (tmp_path / "words.pem").write_text("no certificate")
    words, gone = str(tmp_path / "words.pem"), str(tmp_path / "gone.pem")
    wrong = {
        "WARD_DICOM_TLS_CERT.* gone.pem": Settings(dicom_tls_cert=gone),
        "WARD_DICOM_TLS_CERT.* words.pem": Settings(dicom_tls_cert=words),
        "WARD_DICOM_TLS_CERT, WARD_DICOM_TLS_KEY.* words.pem": Settings(
            dicom_tls_cert=str(one_file), dicom_tls_key=words
        ),
        "WARD_DICOM_TLS_CLIENTS.*words.pem": Settings(dicom_tls_cert=str(one_file), dicom_tls_clients=words),
        "WARD_DICOM_TLS_KEY is of no use without": Settings(dicom_tls_key=str(one_file)),
        "WARD_DICOM_TLS_CLIENTS is of no use without": Settings(dicom_tls_clients=words),
    }
    for said, settings in wrong.items():
        with pytest.raises(Misconfigured, match=said.replace(" words", ".*words").replace(" gone", ".*gone")):
            of_the_gateway(settings)
    with pytest.raises(Misconfigured, match="WARD_RETURN_TLS_CA"):
        of_the_return(Settings(return_tls_ca=gone))
