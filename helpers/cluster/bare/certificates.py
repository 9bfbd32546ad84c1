"""The cluster's certificates, made with openssl: a CA, and a key and certificate for each part.

What each name may do follows from Kubernetes' own bootstrap policy: users `system:…` and
group `system:nodes` (kubernetes.io/docs/reference/access-authn-authz/rbac, "Core component
roles"). They hold for 30 days: the cluster is thrown away long before.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from helpers.cluster.bare.layout import API_SERVICE, DOMAIN, NODE_NAME, Addresses
from helpers.errors import CommandFailed

_DAYS = "30"

#: File name, common name, organisation of each client.
CLIENTS = (
    ("admin", "workbook-admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("kube-proxy", "system:kube-proxy", ""),
    ("kubelet", f"system:node:{NODE_NAME}", "system:nodes"),
    ("apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters"),
    ("coredns", "system:coredns", ""),
)


def make(folder: Path, addresses: Addresses) -> None:
    """Make all keys and certificates in `folder`; what is there is made anew.

    Raises:
        CommandFailed: openssl refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", _DAYS,
             "-subj", "/CN=workbook-cluster")
    _openssl(folder, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-out", "service-accounts.key")
    _openssl(folder, "pkey", "-in", "service-accounts.key", "-pubout",
             "-out", "service-accounts.pub")
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc",
             f"kubernetes.default.svc.{DOMAIN}", "localhost")
    alternatives = ",".join([*(f"DNS:{name}" for name in names), f"IP:{API_SERVICE}",
                             f"IP:{addresses.node}", "IP:127.0.0.1"])
    _sign(folder, "apiserver", "/CN=kube-apiserver", "serverAuth", alternatives)
    _sign(folder, "kubelet-serving", f"/O=system:nodes/CN=system:node:{NODE_NAME}", "serverAuth",
          f"DNS:{NODE_NAME},IP:{addresses.node}")
    for name, common, organisation in CLIENTS:
        group = f"/O={organisation}" if organisation else ""
        _sign(folder, name, f"{group}/CN={common}", "clientAuth", "")


def _sign(folder: Path, name: str, subject: str, usage: str, alternatives: str) -> None:
    extensions = f"extendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n"
    if alternatives:
        extensions += f"subjectAltName={alternatives}\n"
    (folder / f"{name}.ext").write_text(extensions, encoding="utf-8")
    _openssl(folder, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
             "-CAcreateserial", "-days", _DAYS, "-extfile", f"{name}.ext", "-out", f"{name}.crt")
    for suffix in ("csr", "ext"):
        (folder / f"{name}.{suffix}").unlink()


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise CommandFailed(
            f"openssl {arguments[0]} ended with status {done.returncode}",
            cause="a certificate of the cluster could not be made; its words are below",
            fix="is Debian's package openssl whole? Then ./workbook cluster up again",
            detail=done.stderr,
        )
