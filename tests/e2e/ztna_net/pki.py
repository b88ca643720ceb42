"""Certificates as an operator makes them, with ztnactl; and broken ones, with certtool, that ztnactl refuses to make."""
import os
import pathlib
import shutil

from .processes import sh
from .topology import ROOT

TRUST_DOMAIN = "ztna.internal"


def program(name):
    """Path of one of our programs: $ZTNA_BIN or the release build."""
    return pathlib.Path(os.environ.get("ZTNA_BIN") or ROOT / "build/release/bin") / name


class Pki:
    """One certificate authority in `folder`; issue() gives folders with ca.pem, cert.pem and key.pem."""

    def __init__(self, folder, key_type="p256"):
        self.folder, self.key_type = pathlib.Path(folder), key_type
        self.ca = self.folder / "ca"
        self.folder.mkdir(parents=True, exist_ok=True)
        sh(program("ztnactl"), "ca", "init", "--out", self.ca, "--key-type", key_type)

    def issue(self, role, name, services=(), hosts=(), into=None, owner=None):
        """Makes a key and certificate in `into` (default: a folder named after it); `owner` may read the key."""
        folder = pathlib.Path(into or self.folder / f"{role}-{name}")
        command = [program("ztnactl"), "issue", role, "--ca", self.ca, "--name", name, "--out", folder,
                   "--key-type", self.key_type]
        for service in services:
            command += ["--service", service]
        for host in hosts:
            command += ["--host", host]
        sh(*command)
        if owner:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, owner)
        return folder

    def custom(self, name, lines, into=None):
        """A certificate by a certtool template (`lines`), signed by this authority."""
        folder = pathlib.Path(into or self.folder / name)
        folder.mkdir(parents=True, exist_ok=True)
        template = folder / "template"
        template.write_text("\n".join([f"cn = {name}", "signing_key", *lines]) + "\n")
        sh("certtool", "--generate-privkey", "--key-type", "ecdsa", "--curve", "secp256r1", "--outfile", folder / "key.pem")
        sh("certtool", "--generate-certificate", "--load-privkey", folder / "key.pem", "--template", template,
           "--load-ca-certificate", self.ca / "ca.pem", "--load-ca-privkey", self.ca / "ca-key.pem",
           "--outfile", folder / "cert.pem")
        shutil.copy(self.ca / "ca.pem", folder / "ca.pem")
        return folder


def san(role, name, service="*"):
    """Template lines of a complete identity."""
    purposes = ["tls_www_client"] + (["tls_www_server"] if role != "agent" else [])
    dns = [f"dns_name = {role}.{service}.ztna"] if role != "intermediate" else []
    return [*purposes, *dns, f"uri = spiffe://{TRUST_DOMAIN}/{role}/{name}"]


VALID = ["expiration_days = 2"]
EXPIRED = ['activation_date = "2020-01-01 00:00:00"', 'expiration_date = "2020-02-01 00:00:00"']
