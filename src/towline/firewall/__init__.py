"""The firewall, pure: static tables (`base`), and set elements for networks, endpoints and published ports."""

from towline.firewall.base import base as base
from towline.firewall.elements import PublishedPort as PublishedPort
from towline.firewall.elements import data_path_elements as data_path_elements
from towline.firewall.elements import endpoint_elements as endpoint_elements
from towline.firewall.elements import guards as guards
from towline.firewall.elements import mesh_address_elements as mesh_address_elements
from towline.firewall.elements import network_elements as network_elements
from towline.firewall.elements import published_elements as published_elements
from towline.firewall.elements import secure_elements as secure_elements
from towline.firewall.elements import secure_link_elements as secure_link_elements
from towline.firewall.elements import vtep_elements as vtep_elements
from towline.firewall.foreign import FOREIGN_CHAINS as FOREIGN_CHAINS
from towline.firewall.foreign import admit_changes as admit_changes
from towline.firewall.foreign import admit_rule as admit_rule
from towline.firewall.foreign import withdraw_changes as withdraw_changes
from towline.firewall.names import OVERLAY as OVERLAY
