"""ztnactl as an operator meets it: refusals first, then CA, certificates and inspect.

No network and no privilege. What it writes is read back by openssl and certtool, which share no code with it here.
Environment: ZTNA_BIN_DIR or ZTNA_BIN (the programs; default build/release/bin).
"""
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("ZTNA_BIN_DIR") or os.environ.get("ZTNA_BIN") or ROOT / "build/release/bin")


@pytest.fixture
def ctl(tmp_path):
    def run(*args, code=0, umask=None):
        done = subprocess.run([str(BIN / "ztnactl"), *map(str, args)], cwd=tmp_path, text=True, capture_output=True,
                              timeout=30, preexec_fn=(lambda: os.umask(umask)) if umask is not None else None)
        assert done.returncode == code, f"{args}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        if code == 2:
            assert done.stdout == ""
            assert re.fullmatch(r"ztnactl: [^\n]+\n", done.stderr), f"not one line: {done.stderr!r}"
        return done
    return run


@pytest.fixture
def ca(ctl):
    ctl("ca", "init")
    return ctl


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def files(directory):
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def tool(*args):
    done = subprocess.run(list(map(str, args)), text=True, capture_output=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


def foreign_certificate(tmp_path, name, san=None, days=1):
    """Self-signed by openssl, as somebody without ztnactl would make it."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-subj", f"/CN={name}", "-days", str(days), "-keyout", tmp_path / "f-key.pem", "-out", tmp_path / "f.pem",
               "-addext", "basicConstraints=critical,CA:FALSE"]
    if san:
        command += ["-addext", f"subjectAltName={san}"]
    code, text = tool(*command)
    assert code == 0, text
    return tmp_path / "f.pem"


# ---- refusals

@pytest.mark.parametrize("args, says", [
    ([], "subcommand is required"),
    (["frobnicate"], 'unknown: "frobnicate"'),
    (["ca"], "see ztnactl ca --help"),
    (["ca", "destroy"], 'unknown: "destroy"'),
    (["issue", "admin", "--name", "a"], 'unknown: "admin"'),
    (["issue", "agent"], "--name is required"),
    (["issue", "agent", "--name", "a"], "--service is required"),
    (["issue", "intermediate", "--name", "a"], "--host is required"),
    (["issue", "agent", "--name", "a", "--service", "w", "--host", "h"], "--host"),
    (["issue", "agent", "--name", "a", "--service", "w", "extra"], "extra"),
    (["issue", "agent", "--name", "a", "--service", "w", "--days", "0"], "3650"),
    (["issue", "agent", "--name", "a", "--service", "w", "--days", "many"], "3650"),
    (["issue", "agent", "--name", "a", "--service", "w", "--days", "1", "--hours", "1"], "excludes"),
    (["issue", "agent", "--name", "a", "--service", "w", "--key-type", "rsa"], "p256 or ed25519"),
    (["inspect"], "file is required"),
    (["inspect", "absent.pem"], "absent.pem: No such file"),
    (["inspect", "."], "Is a directory"),
    (["inspect", "/dev/null"], "empty"),
    (["inspect", "/dev/zero"], "over"),
])
def test_usage_refused(ctl, tmp_path, args, says):
    assert says in ctl(*args, code=2).stderr
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["status", "enroll", "renew", "policy", "revoke", "disconnect", "audit", "doctor"])
def test_later_commands_say_so(ctl, name):
    assert "not in this release" in ctl(name, code=2).stderr
    assert "not in this release" in ctl(name, "--json", "laptop-1", code=2).stderr


@pytest.mark.parametrize("args, says", [
    (["--trust-domain", "a b"], "trust domain"),
    (["--trust-domain", ""], "trust domain"),
    (["--trust-domain", "a/b"], "trust domain"),
    (["--name", ""], "name"),
    (["--name", "caf\u00e9"], "name"),
    (["--days", "3651"], "--days"),
    (["--out", "/proc/nowhere"], "/proc/nowhere"),
])
def test_ca_init_refused(ctl, tmp_path, args, says):
    assert says in ctl("ca", "init", *args, code=2).stderr
    assert files(tmp_path) == []


@pytest.mark.parametrize("role, args, says", [
    ("agent", ["--name", "a b", "--service", "w"], 'name "a b"'),
    ("agent", ["--name", "../a", "--service", "w"], "name"),
    ("agent", ["--name", "a", "--service", "w*"], "no patterns"),
    ("agent", ["--name", "a", "--service", ""], "service"),
    ("agent", ["--name", "a", "--service", "x" * 201], "service"),
    ("connector", ["--name", "a", "--service", "my_db"], "my_db"),
    ("intermediate", ["--name", "a", "--host", "*.example.com"], "host"),
    ("intermediate", ["--name", "a", "--host", "example.com:443"], "host"),
    ("intermediate", ["--name", "a", "--host", "agent.web.ztna"], "host"),
])
def test_issue_refused(ca, tmp_path, role, args, says):
    before = files(tmp_path)
    assert says in ca("issue", role, *args, code=2).stderr
    assert files(tmp_path) == before


def test_issue_without_a_ca_says_how_to_make_one(ctl, tmp_path):
    assert "ztnactl ca init --out certs" in ctl("issue", "agent", "--name", "a", "--service", "w", code=2).stderr
    assert files(tmp_path) == []


def test_issue_with_a_broken_ca(ca, tmp_path):
    issue = ["issue", "agent", "--name", "a", "--service", "w"]
    key = tmp_path / "certs/ca-key.pem"
    good = key.read_text()
    key.write_text("garbage")
    assert "no private key" in ca(*issue, code=2).stderr
    ca("ca", "init", "--out", "other")
    shutil.copy(tmp_path / "other/ca-key.pem", key)
    assert "another certificate" in ca(*issue, code=2).stderr
    key.write_text(good)
    key.chmod(0o644)
    assert "chmod 600 certs/ca-key.pem" in ca(*issue).stderr
    ca("issue", "agent", "--name", "b", "--service", "w", "--ca", "a/certs", code=2)  # a leaf's directory is no CA's


def test_issue_that_outlives_the_ca(ctl):
    ctl("ca", "init", "--days", "2")
    assert "the CA ends" in ctl("issue", "agent", "--name", "a", "--service", "w", code=2).stderr
    ctl("issue", "agent", "--name", "a", "--service", "w", "--days", "1")


def test_nothing_is_replaced_without_force(ca, tmp_path):
    ca("issue", "agent", "--name", "a", "--service", "w")
    before = {f: (tmp_path / f).read_bytes() for f in files(tmp_path)}
    assert "--force" in ca("ca", "init", code=2).stderr
    assert "a/certs/key.pem exists" in ca("issue", "agent", "--name", "a", "--service", "w", code=2).stderr
    (tmp_path / "a/certs/key.pem").rename(tmp_path / "a/key.old")
    assert "a/certs/cert.pem exists" in ca("issue", "agent", "--name", "a", "--service", "w", code=2).stderr
    (tmp_path / "a/key.old").rename(tmp_path / "a/certs/key.pem")
    assert {f: (tmp_path / f).read_bytes() for f in files(tmp_path)} == before

    ca("issue", "agent", "--name", "a", "--service", "w", "--force")
    assert (tmp_path / "a/certs/key.pem").read_bytes() != before["a/certs/key.pem"]
    assert (tmp_path / "a/certs/ca.pem").read_bytes() == before["a/certs/ca.pem"]
    assert mode(tmp_path / "a/certs/key.pem") == 0o600


def test_a_dangling_link_is_not_followed(ca, tmp_path):
    (tmp_path / "a/certs").mkdir(parents=True)
    (tmp_path / "a/certs/key.pem").symlink_to(tmp_path / "elsewhere")
    assert "exists" in ca("issue", "agent", "--name", "a", "--service", "w", code=2).stderr
    ca("issue", "agent", "--name", "a", "--service", "w", "--force")
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "a/certs/key.pem").is_symlink()


def test_another_ca_is_never_overwritten(ca, tmp_path):
    ca("ca", "init", "--out", "other")
    before = (tmp_path / "other/ca.pem").read_bytes()
    for force in ([], ["--force"]):
        said = ca("issue", "agent", "--name", "a", "--service", "w", "--out", "other", *force, code=2).stderr
        assert "another CA" in said
    assert (tmp_path / "other/ca.pem").read_bytes() == before
    assert "key.pem" not in files(tmp_path / "other")

    (tmp_path / "x").mkdir()
    shutil.copy(tmp_path / "other/ca.pem", tmp_path / "x/ca.pem")  # no key beside it: an old deployment's
    assert "another CA's" in ca("issue", "agent", "--name", "a", "--service", "w", "--out", "x", code=2).stderr
    ca("issue", "agent", "--name", "a", "--service", "w", "--out", "x", "--force")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_directory_without_permission(ca, tmp_path):
    (tmp_path / "shut").mkdir(mode=0o500)
    assert "Permission denied" in ca("issue", "agent", "--name", "a", "--service", "w", "--out", "shut", code=2).stderr


# ---- what is made

def test_ca_files_and_modes(ctl, tmp_path):
    said = ctl("ca", "init", umask=0o000).stdout
    assert "trust domain ztna.internal" in said and "ztnactl issue intermediate" in said
    assert files(tmp_path) == ["certs/ca-key.pem", "certs/ca.pem"], "no temporary file stays"
    assert mode(tmp_path / "certs/ca-key.pem") == 0o600
    assert mode(tmp_path / "certs/ca.pem") == 0o644
    code, text = tool("openssl", "x509", "-in", tmp_path / "certs/ca.pem", "-noout", "-text")
    assert code == 0
    for expected in ("CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "URI:spiffe://ztna.internal", "prime256v1"):
        assert expected in text
    assert tool("openssl", "verify", "-check_ss_sig", "-CAfile", tmp_path / "certs/ca.pem",
                tmp_path / "certs/ca.pem")[0] == 0


@pytest.mark.parametrize("ca_type", ["p256", "ed25519"])
@pytest.mark.parametrize("leaf_type", ["p256", "ed25519"])
def test_issued_certificates_hold_for_other_tools(ctl, tmp_path, ca_type, leaf_type):
    ctl("ca", "init", "--key-type", ca_type, "--trust-domain", "example.org")
    key = ["--key-type", leaf_type]
    ctl("issue", "agent", "--name", "laptop-1", "--service", "web", "--service", "db.eu", *key, umask=0o000)
    ctl("issue", "connector", "--name", "c1", "--service", "*", *key)
    ctl("issue", "intermediate", "--name", "i1", "--host", "relay.example.com", "--host", "192.0.2.1",
        "--host", "2001:db8::1", *key)
    ca_file = tmp_path / "certs/ca.pem"
    expected = {
        "laptop-1": ("URI:spiffe://example.org/agent/laptop-1, DNS:agent.web.ztna, DNS:agent.db.eu.ztna", True, False),
        "c1": ("URI:spiffe://example.org/connector/c1, DNS:connector.*.ztna", True, True),
        "i1": ("URI:spiffe://example.org/intermediate/i1, DNS:relay.example.com, IP Address:192.0.2.1, "
               "IP Address:2001:DB8:0:0:0:0:0:1", True, True),
    }
    for name, (names, client, server) in expected.items():
        out = tmp_path / name / "certs"
        assert files(out) == ["ca.pem", "cert.pem", "key.pem"]
        assert (mode(out / "cert.pem"), mode(out / "key.pem"), mode(out / "ca.pem")) == (0o644, 0o600, 0o644)
        assert (out / "ca.pem").read_bytes() == ca_file.read_bytes()
        _, text = tool("openssl", "x509", "-in", out / "cert.pem", "-noout", "-text")
        assert names in text
        assert "CA:FALSE" in text and "Digital Signature" in text
        for purpose, ok in (("sslclient", client), ("sslserver", server)):
            code, said = tool("openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", out / "ca.pem",
                              out / "cert.pem")
            assert (code == 0) == ok, said
        code, said = tool("certtool", "--verify", "--load-ca-certificate", out / "ca.pem", "--infile", out / "cert.pem")
        assert code == 0, said
        public = [tool("openssl", "x509", "-in", out / "cert.pem", "-noout", "-pubkey"),
                  tool("openssl", "pkey", "-in", out / "key.pem", "-pubout")]
        assert public[0] == public[1] and public[0][0] == 0
    assert tool("openssl", "verify", "-verify_hostname", "relay.example.com", "-CAfile", ca_file,
                tmp_path / "i1/certs/cert.pem")[0] == 0


def test_lifetimes(ca):
    ca("issue", "agent", "--name", "a", "--service", "w")
    ca("issue", "agent", "--name", "b", "--service", "w", "--hours", "5")
    ca("issue", "agent", "--name", "c", "--service", "w", "--days", "7")
    for name, seconds in (("a", 30 * 86400), ("b", 5 * 3600), ("c", 7 * 86400)):
        left = json.loads(ca("inspect", f"{name}/certs/cert.pem", "--json").stdout)["seconds_left"]
        assert seconds - 60 < left <= seconds


def test_out_beside_the_ca_warns_of_its_key(ca, tmp_path):
    said = ca("issue", "agent", "--name", "a", "--service", "w", "--out", "certs").stderr
    assert "CA's key" in said
    assert files(tmp_path / "certs") == ["ca-key.pem", "ca.pem", "cert.pem", "key.pem"]


# ---- inspect

def test_inspect_without_identity(ctl, tmp_path):
    for san, says in ((None, "NO ZTNA IDENTITY: no subject alternative names"),
                      ("DNS:agent.web.ztna", "NO ZTNA IDENTITY: no URI name"),
                      ("URI:spiffe://ztna.internal/agent/a", "NO ZTNA IDENTITY: no DNS name agent.<service>.ztna"),
                      ("URI:spiffe://ztna.internal/agent/a,DNS:connector.web.ztna", "a DNS name the role connector"),
                      ("URI:spiffe://ztna.internal/agent/a,DNS:agent.w*.ztna", "'*' stands for one whole service id")):
        foreign_certificate(tmp_path, "agent.web.ztna", san)
        done = ctl("inspect", "f.pem", code=1)
        assert says in done.stdout and done.stderr == ""
        found = json.loads(ctl("inspect", "f.pem", "--json", code=1).stdout)
        assert found["kind"] == "none" and found["fault"] and "role" not in found
    assert "private key" in ctl("inspect", "f-key.pem", code=2).stderr


def test_inspect_of_junk(ctl, tmp_path):
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "der").write_bytes(b"\x30\x03\x02\x01\x00")
    (tmp_path / "pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "octets").write_bytes(bytes(range(256)))
    for name in ("text", "der", "pem", "octets"):
        assert ctl("inspect", name, code=2).stderr.startswith(f"ztnactl: {name}: ")


def test_inspect_shows_no_control_characters(ctl, tmp_path):
    foreign_certificate(tmp_path, "a\x1b[31mred", "DNS:x\x1b[2J.example")
    done = ctl("inspect", "f.pem", code=1)
    assert "\x1b" not in done.stdout and "\\x1b" in done.stdout
    assert "\x1b" not in ctl("inspect", "f.pem", "--json", code=1).stdout


def test_inspect_chain(ca, tmp_path):
    ca("issue", "connector", "--name", "c1", "--service", "web")
    ca("ca", "init", "--out", "other")
    done = ca("inspect", "c1/certs/cert.pem", "--ca", "other/ca.pem", code=1)
    assert re.search(r"^verified +NO: it was not issued by this CA", done.stdout, re.M)
    assert ca("inspect", "certs/ca.pem", "--ca", "other/ca.pem", code=1)
    assert "absent" in ca("inspect", "c1/certs/cert.pem", "--ca", "absent", code=2).stderr
    done = ca("inspect", "c1/certs/cert.pem", "--ca", "certs/ca.pem")
    assert re.search(r"^verified +yes, by certs/ca.pem$", done.stdout, re.M)
    assert json.loads(ca("inspect", "c1/certs/cert.pem", "--ca", "certs/ca.pem", "--json").stdout)["verified"] is True


def test_inspect_expired(ca, tmp_path):
    """openssl signs with our CA what ztnactl would not issue: a certificate of the past."""
    template = tmp_path / "template"
    template.write_text('cn = "a"\nserial = 7\nactivation_date = "2020-01-01"\nexpiration_date = "2020-01-02"\n'
                        'dns_name = "agent.web.ztna"\nuri = "spiffe://ztna.internal/agent/a"\n'
                        "tls_www_client\nsigning_key\n")
    ca("issue", "agent", "--name", "a", "--service", "web")
    code, said = tool("certtool", "--generate-certificate", "--load-privkey", tmp_path / "a/certs/key.pem",
                      "--load-ca-certificate", tmp_path / "certs/ca.pem", "--load-ca-privkey",
                      tmp_path / "certs/ca-key.pem", "--template", template, "--outfile", tmp_path / "old.pem")
    assert code == 0, said
    done = ca("inspect", "old.pem", "--ca", "certs/ca.pem", code=1)
    assert re.search(r"\(EXPIRED \d+ days ago\)", done.stdout)
    assert "NO: it expired on 2020-01-02" in done.stdout
    found = json.loads(ca("inspect", "old.pem", "--json", code=1).stdout)
    assert found["valid_now"] is False and found["seconds_left"] < 0 and found["name"] == "a"


def test_inspect_table_and_json(ca, tmp_path):
    ca("issue", "agent", "--name", "Laptop-1", "--service", "web", "--service", "DB.eu")
    rows = dict(re.split(r"\s{2,}|(?<=^SHA-256)\s+|(?<=^trust domain)\s+", line, maxsplit=1)
                for line in ca("inspect", "laptop-1/certs/cert.pem").stdout.splitlines())
    assert rows["role"] == "agent"
    assert rows["name"] == "laptop-1"
    assert rows["trust domain"] == "ztna.internal"
    assert rows["services"] == "db.eu, web"
    assert re.search(r"\(\d+ days \d+ h left\)$", rows["valid until"])
    assert rows["key"] == "P-256"
    assert rows["usage"] == "client authentication"
    _, text = tool("openssl", "x509", "-in", tmp_path / "laptop-1/certs/cert.pem", "-noout", "-fingerprint", "-sha256",
                   "-serial")
    assert rows["SHA-256"].upper() in text
    assert rows["serial"].replace(":", "").upper() in text

    found = json.loads(ca("inspect", "laptop-1/certs/cert.pem", "--json").stdout)
    assert found["kind"] == "identity"
    assert (found["role"], found["name"], found["services"]) == ("agent", "laptop-1", ["db.eu", "web"])
    assert found["uri"] == "spiffe://ztna.internal/agent/laptop-1"
    assert found["all_services"] is False and found["valid_now"] is True

    code, _ = tool("openssl", "x509", "-in", tmp_path / "laptop-1/certs/cert.pem", "-outform", "DER", "-out",
                   tmp_path / "leaf.der")
    assert code == 0
    assert json.loads(ca("inspect", "leaf.der", "--json").stdout)["sha256"] == found["sha256"]


def test_inspect_ca(ca):
    assert re.search(r"^role +certificate authority", ca("inspect", "certs/ca.pem").stdout, re.M)
    found = json.loads(ca("inspect", "certs/ca.pem", "--json").stdout)
    assert found["kind"] == "authority" and "fault" not in found


def test_help_and_version(ctl):
    assert re.fullmatch(r"ztnactl \d+\.\d+\.\d+\n", ctl("--version").stdout)
    top = ctl("--help").stdout
    for word in ("ca", "issue", "inspect", "ztnactl ca init"):
        assert word in top
    for command in (["ca"], ["ca", "init"], ["issue"], ["issue", "agent"], ["issue", "intermediate"], ["inspect"]):
        text = ctl(*command, "--help").stdout
        assert "A deployment from nothing" not in text
    assert max(map(len, ctl("issue", "agent", "--help").stdout.splitlines())) <= 120
