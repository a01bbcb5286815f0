"""An authority that makes certificates for the time of a test."""

import pathlib
import subprocess

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """Its own certificate, and those that it makes, are files in a directory that it makes."""

    def __init__(self, directory, as_user=None):
        self.directory, self.as_user = pathlib.Path(directory), as_user
        self.certificate, self.key = self.directory / "ca.pem", self.directory / "ca.key"
        self.run("mkdir", self.directory, cwd=self.directory.parent)
        self.run("openssl", "req", "-x509", *KEY, "-subj", "/CN=an authority", "-days", 2, "-keyout", self.key, "-out",
                 self.certificate)

    def run(self, *command, cwd=None):
        subprocess.run([str(c) for c in command], check=True, capture_output=True, user=self.as_user, cwd=cwd or self.directory)

    def issue(self, subject, names=(), days=2):
        """(certificate, key); of 0 days is one that has expired."""
        stem = self.directory / f"{subject}-{days}"
        alternatives = ("-addext", "subjectAltName=" + ",".join(names)) if names else ()
        self.run("openssl", "req", "-new", *KEY, "-subj", f"/CN={subject}", *alternatives, "-keyout", f"{stem}.key", "-out",
                 f"{stem}.csr")
        self.run("openssl", "x509", "-req", "-in", f"{stem}.csr", "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                 "-copy_extensions", "copyall", "-days", days, "-out", f"{stem}.pem")
        return pathlib.Path(f"{stem}.pem"), pathlib.Path(f"{stem}.key")
