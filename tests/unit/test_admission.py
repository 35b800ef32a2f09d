import pytest
from msgspec.structs import replace

from towline.drivers.registry import builtin_drivers
from towline.model.endpoint import Endpoint
from towline.model.errors import Conflict, Failure, Forbidden, InvalidParameter, NotFound, TowlineError
from towline.model.network import Network
from towline.model.requests import CreateNetwork, PoolRequest
from towline.policy.network import Admission, check_removal
from towline.store.contract import Put
from towline.store.memory import MemoryStore

CONFIG = Network(
    id="c" * 64,
    name="cfg",
    created=1,
    driver="null",
    phase="ready",
    config_only=True,
    options={"a": "b"},
    labels={"l": "1"},
    requests=(PoolRequest(subnet="10.70.0.0/24"),),
)
WEB = Network(id="w" * 64, name="web", created=1, driver="bridge", phase="ready")


def store(*records: Network | Endpoint) -> MemoryStore:
    made = MemoryStore()
    made.update([Put(record) for record in records])
    return made


def admit(
    request: CreateNetwork, defaults: dict[str, dict[str, str]] | None = None
) -> tuple[CreateNetwork, str | None]:
    admitted, driver = Admission(builtin_drivers(), defaults or {}).admit(request, store(CONFIG, WEB).view())
    return admitted, driver.name if driver else None


def asking(name: str = "x", **fields: object) -> CreateNetwork:
    return replace(CreateNetwork(name), **fields)


OPERATOR = (
    "configuration network can only contain network specific fields. "
    "Network operator fields like [ ingress | internal | attachable | scope ] are not supported."
)
SPECIFIC = "user-specified configurations are not supported if the network depends on a configuration network"


@pytest.mark.parametrize(
    ("request_", "kind", "text"),
    [
        (asking("bridge"), Forbidden, "operation is not permitted on predefined bridge network "),
        (asking("default"), Forbidden, "operation is not permitted on predefined default network "),
        (asking(""), InvalidParameter, "invalid name: name is empty"),
        (asking(" \t"), InvalidParameter, "invalid name: name is empty"),
        (asking("web"), Conflict, "network with name web already exists"),
        (asking(driver="nope"), NotFound, 'plugin "nope" not found'),
        (
            asking(options={"com.docker.network.enable_ipv6": "maybe"}),
            InvalidParameter,
            'driver-opt "com.docker.network.enable_ipv6" is not a valid bool',
        ),
        (asking(ingress=True), Forbidden, "Ingress network can only be global scope network"),
        (asking(scope="swarm"), Forbidden, "cannot create a swarm scoped network when swarm is not active"),
        (
            asking(scope="swarm", enable_ipv4=False),
            InvalidParameter,
            "IPv4 cannot be disabled in a Swarm scoped network",
        ),
        (asking(config_only=True, internal=True), Forbidden, OPERATOR),
        (asking(config_only=True, scope="local"), Forbidden, OPERATOR),
        (
            asking(config_only=True, config_from="cfg"),
            Forbidden,
            "a configuration network cannot depend on another configuration network",
        ),
        (asking(config_from="cfg", labels={"m": "2"}), Forbidden, SPECIFIC),
        (asking(config_from="cfg", pools=(PoolRequest("10.71.0.0/24"),)), Forbidden, SPECIFIC),
        (asking(config_from="cfg", enable_ipv6=True), Forbidden, SPECIFIC),
        (
            asking(config_from="cfg", options={"x": "y"}),
            Forbidden,
            "network driver options are not supported if the network depends on a configuration network",
        ),
        (asking(config_from="nope"), NotFound, 'configuration network "nope" does not exist'),
        (asking(config_from="web"), NotFound, 'configuration network "web" does not exist'),
        (
            asking(options={"com.docker.network.advertise_addr_nmsgs": "4"}),
            Failure,
            "com.docker.network.advertise_addr_nmsgs must be in the range 0 to 3",
        ),
        (
            asking(options={"com.docker.network.advertise_addr_ms": "x"}),
            Failure,
            'value for option com.docker.network.advertise_addr_ms "x" must be integer milliseconds',
        ),
        (
            asking(pools=(PoolRequest("10.5.0.1/24"),)),
            InvalidParameter,
            "invalid network config:\ninvalid subnet 10.5.0.1/24: it should be 10.5.0.0/24",
        ),
    ],
)
def test_refusals_have_dockers_text(request_: CreateNetwork, kind: type[TowlineError], text: str) -> None:
    with pytest.raises(kind) as caught:
        admit(request_)
    assert str(caught.value) == text


def test_overlay_needs_a_swarm() -> None:
    with pytest.raises(Forbidden, match=r"^This node is not a swarm manager\."):
        admit(asking(driver="overlay"))


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (asking("bridge", driver="nope"), "operation is not permitted"),
        (asking("", driver="nope"), "name is empty"),
        (asking("web", driver="nope"), "already exists"),
        (asking("web", pools=(PoolRequest("10.5.0.1/24"),)), "invalid network config"),
        (asking(driver="nope", config_from="nope"), 'plugin "nope" not found'),
    ],
)
def test_the_first_failing_check_wins(request_: CreateNetwork, text: str) -> None:
    with pytest.raises(TowlineError, match=text):
        admit(request_)


def test_defaults() -> None:
    admitted, driver = admit(asking())
    assert driver == "bridge"
    assert (admitted.driver, admitted.scope, admitted.ipam_driver) == ("bridge", "local", "default")
    assert (admitted.enable_ipv4, admitted.enable_ipv6) == (True, False)


def test_families_from_driver_options_unless_said() -> None:
    options = {"com.docker.network.enable_ipv6": "1", "com.docker.network.enable_ipv4": "0"}
    assert admit(asking(options=options))[0].enable_ipv6 is True
    admitted, _ = admit(asking(options=options, enable_ipv4=True, enable_ipv6=False))
    assert (admitted.enable_ipv4, admitted.enable_ipv6) == (True, False)


def test_default_options_are_merged_and_the_users_win() -> None:
    defaults = {"bridge": {"a": "default", "b": "default"}}
    assert admit(asking(options={"a": "user"}), defaults)[0].options == {"a": "user", "b": "default"}
    assert admit(asking(config_from="cfg"), defaults)[0].options == {"a": "b"}


def test_config_only_has_no_driver() -> None:
    admitted, driver = admit(asking(config_only=True, driver="macvlan"))
    assert driver is None
    assert (admitted.driver, admitted.scope) == ("null", "local")


def test_config_from_takes_over_the_configuration() -> None:
    admitted, _ = admit(asking(config_from="cfg", internal=True))
    assert admitted.pools == CONFIG.requests
    assert admitted.labels == {"l": "1"}
    assert admitted.internal


def test_removal_rules() -> None:
    made = replace(WEB, config_from="cfg")
    endpoint = Endpoint(id="3c63bc4acf9b" + "0" * 52, name="e1", network=WEB.id)
    view = store(CONFIG, made, endpoint).view()
    with pytest.raises(Forbidden, match=r'^error while removing network: configuration network "cfg" is in use$'):
        check_removal(CONFIG, view)
    with pytest.raises(Forbidden) as caught:
        check_removal(made, view)
    assert str(caught.value) == (
        'error while removing network: network web has active endpoints (name:"e1" id:"3c63bc4acf9b")'
    )
    with pytest.raises(Forbidden, match="^host is a pre-defined network and cannot be removed$"):
        check_removal(replace(WEB, name="host"), view)
    check_removal(replace(WEB, id="v" * 64), view)
