"""Certificates for tests, made by `openssl`: each signs itself, so whoever is given it trusts it and nothing else."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, each a PEM file."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, directory: Path, name: str, address: str) -> Certificate:
        """Make one for a name and an address; its files are called by the name."""
        made = cls(directory / f"{name}.crt", directory / f"{name}.key")
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:{address}"),
                *("-keyout", str(made.key), "-out", str(made.certificate)),
            ],
            check=True,
            capture_output=True,
            timeout=_DEADLINE_S,
        )
        return made

    @property
    def bundle(self) -> str:
        """Both in one text, as HAProxy wants them."""
        return self.certificate.read_text(encoding="ascii") + self.key.read_text(encoding="ascii")

    def server_context(self) -> ssl.SSLContext:
        """For a server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that trusts this certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))
