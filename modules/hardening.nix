# The sandbox of `hyper-sync-fetch.service`: it talks to the network and writes the target, and nothing else.
#
# What is left out, and why:
# - `User=`, `DynamicUser=`: the target belongs to root; without a single capability root is only its owner.
# - `PrivateNetwork=`, `IPAddressDeny=`: it has to reach the forge, which may be any host; link-local addresses serve as
#   name servers in many homes.
# - `PrivateUsers=`: files of other users would all look like nobody's, and an edit by their owner like a stranger's.
# - `RestrictSUIDSGID=`: it takes `openat2` away altogether, as a filter cannot look into its argument, and with it what
#   keeps a write inside the target. No file with such a bit is ever written; the tree's modes are 644 and 755.
{ writable, needsHome }:
{
  ProtectSystem = "strict";
  # What is missing is made by the unit itself, outside of the sandbox; but systemd opens these paths for that command too,
  # and without the `-` fails with 226/NAMESPACE before it.
  ReadWritePaths = map (path: "-${path}") writable;
  ProtectHome = if needsHome then "read-only" else true;
  PrivateTmp = true;
  PrivateDevices = true;
  ProtectClock = true;
  ProtectControlGroups = true;
  ProtectHostname = true;
  ProtectKernelLogs = true;
  ProtectKernelModules = true;
  ProtectKernelTunables = true;
  ProtectProc = "invisible";
  ProcSubset = "pid";

  NoNewPrivileges = true;
  CapabilityBoundingSet = "";
  AmbientCapabilities = "";
  RestrictRealtime = true;
  RestrictNamespaces = true;
  LockPersonality = true;
  MemoryDenyWriteExecute = true;
  RemoveIPC = true;
  KeyringMode = "private";

  # AF_UNIX for the name service and the journal, AF_NETLINK because the resolver lists the interfaces.
  RestrictAddressFamilies = [
    "AF_INET"
    "AF_INET6"
    "AF_UNIX"
    "AF_NETLINK"
  ];
  SystemCallArchitectures = "native";
  SystemCallFilter = [
    "@system-service"
    "~@privileged @resources"
  ];
  SystemCallErrorNumber = "EPERM";

  # Modes of written files are set one by one; this is for everything else.
  UMask = "0077";
  # No token in a core dump.
  LimitCORE = 0;
  MemoryMax = "1G";
  TasksMax = 64;
}
