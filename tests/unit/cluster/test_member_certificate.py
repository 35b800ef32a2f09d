"""etcd's certificate of a manager is made anew in time, also by one that was off for longer than it lived."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.node_api import FakeManaging
from towline.cluster import codec, pki
from towline.cluster.contract import KeyValue
from towline.cluster.gate import issue_member
from towline.cluster.identity import IdentityFiles
from towline.cluster.member_certificate import MemberCertificate
from towline.cluster.state import State
from towline.model.cluster import Cluster, Secrets
from towline.policy.swarm_spec import default_spec

LIFE = 90 * 86400.0


class Lab:
    """A manager with a certificate of `LIFE` seconds. now: its clock, seconds; renewals: how often etcd was told."""

    def __init__(self, folder: Path) -> None:
        self.files: IdentityFiles = FakeManaging().certified(folder, "manager", seconds=3600)
        self.root = pki.new_root("etcd-ca")
        pair = issue_member(self.root, "node", ["192.0.2.1"], seconds=LIFE)
        self.files.save_member_tls(self.root.certificate, pair.certificate, pair.key)
        self.now = pki.life_of(pair.certificate)[0] + 60
        self.renewals = 0
        records = (
            (codec.CLUSTER_KEY, Cluster("c" * 25, 1, spec=default_spec())),
            (codec.SECRETS_KEY, Secrets("k", "w", "m", self.root.certificate, self.root.key)),
        )
        self.state = State(2, [KeyValue(key, codec.encode(record), 1, 2) for key, record in records])
        self.certificate = MemberCertificate(
            self.files, "node", "192.0.2.1", renewed=self._renewed, clock=lambda: int(self.now * 1e9)
        )

    def _renewed(self) -> None:
        self.renewals += 1

    def sound(self) -> bool:
        held = self.files.member_tls()
        return pki.signed_by(held.certificate, held.ca) and pki.belong_together(held.certificate, held.key)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_it_stays_until_half_of_its_life(lab: Lab) -> None:
    before = lab.files.member_tls().certificate
    lab.certificate.compare(lab.state)
    assert (lab.files.member_tls().certificate, lab.renewals) == (before, 0)
    lab.now += LIFE / 2 + 7200
    lab.certificate.compare(lab.state)
    assert lab.files.member_tls().certificate != before
    assert (lab.renewals, lab.sound()) == (1, True)


def test_one_of_twenty_years_goes(lab: Lab) -> None:
    pair = issue_member(lab.root, "node", ["192.0.2.1"], seconds=20 * 365 * 86400.0)
    lab.files.save_member_tls(lab.root.certificate, pair.certificate, pair.key)
    lab.certificate.compare(lab.state)
    since, until = pki.life_of(lab.files.member_tls().certificate)
    assert until - since < LIFE + 86400
    assert lab.renewals == 1


def test_a_manager_that_was_off_for_a_year_can_start_its_etcd(lab: Lab) -> None:
    lab.certificate.mend()
    before = lab.files.member_tls().certificate
    lab.certificate.compare(lab.state)
    assert lab.files.member_tls().ca_key == lab.root.key
    assert (lab.files.root / "etcd-tls" / "ca.key").stat().st_mode & 0o077 == 0
    lab.now += 365 * 86400
    lab.certificate.mend()
    assert lab.files.member_tls().certificate != before
    assert lab.sound()


def test_a_key_that_a_crash_left_beside_another_certificate_is_mended(lab: Lab) -> None:
    lab.certificate.compare(lab.state)
    (lab.files.etcd_tls / "member.key").write_text(pki.new_request().key)
    assert not lab.sound()
    lab.certificate.mend()
    assert lab.sound()


def test_what_cannot_be_read_stops_nobody(lab: Lab) -> None:
    lab.certificate.compare(lab.state)
    (lab.files.etcd_tls / "member.pem").write_text("nothing")
    lab.certificate.mend()
    assert lab.sound()
    (lab.files.etcd_tls / "member.pem").unlink()
    lab.certificate.mend()
