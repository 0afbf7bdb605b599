# The machine follows a branch: a timer, `hyper-sync-fetch.service` (validate and sync, sandboxed unless it builds) and
# `hyper-sync.service` (the whole update as a person sees it; its own part is the rebuild).
#
# Only library functions that NixOS 24.05 has, so that a host on an old release can use the flake's package.
{
  config,
  lib,
  options,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.services.hyper-sync;
  exe = lib.getExe cfg.package;
  format = pkgs.formats.toml { };

  # The values in the configuration file count: `settings` may override any of the options that are written into it.
  inherit (cfg.settings) target;
  repo = cfg.settings.repo or null;
  hyperNixosTarget = "/etc/hypervisor/src";
  stateDir = cfg.settings.state_dir or "/var/lib/hyper-sync";
  # The path that the guide of Hyper-NixOS documents.
  stateFile =
    cfg.settings.state_file
      or (if target == hyperNixosTarget then "/var/lib/hypervisor/cache/sync-state.json" else null);
  # The host flake of Hyper-NixOS cannot do without.
  impure = if cfg.target == hyperNixosTarget then [ "--impure" ] else [ ];
  metricsFile = cfg.settings.metrics_file or null;
  signers = cfg.settings.trust.signers or null;

  # Folders of files that others read.
  published = lib.unique (
    map dirOf (
      lib.filter (file: file != null) [
        stateFile
        metricsFile
      ]
    )
  );

  # A secret reaches the sandboxed unit as a credential: read anew by systemd at every start, so that a rotated file is
  # used by the next run, readable by no other unit, and in nobody's environment or argument list.
  credentials = lib.filterAttrs (_: file: file != null) {
    token = cfg.settings.token_file or null;
    ssh_key = cfg.settings.ssh_key_file or null;
    known_hosts = cfg.settings.known_hosts_file or null;
    ca = cfg.settings.ca_file or null;
  };

  # The default is for Hyper-NixOS's target: one that is set by `settings` gets it too.
  repoIsMeant =
    target == hyperNixosTarget
    || repo != cfg.repo
    || options.services.hyper-sync.repo.highestPrio < (lib.mkOptionDefault null).priority;

  # `https://user:password@host`; `git@host:path` and `ssh://git@host` carry no secret.
  hasPassword = repo != null && builtins.match "[a-z+]+://[^/@]*:[^/@]*@.*" repo != null;

  # Every folder the sandboxed unit writes to. Not the target's parent: for `/etc/nixos` that would be `/etc` itself.
  writable = [
    target
  ]
  ++ lib.optional (stateDir != "/var/lib/hyper-sync") stateDir
  ++ published;

  # Evaluating and building a system needs what the sandbox takes away: namespaces, memory, the store.
  buildsFirst = (cfg.settings.rebuild.gate or "off") == "build";

  confirms = cfg.settings.health.confirm or false;
  reboots = cfg.settings.reboot.allow or false;
  # Whether the unit does.
  rebuilds = cfg.rebuildAction != null && cfg.rebuildAction != "none";
  reboot = utils.escapeSystemdExecArgs [
    exe
    "reboot"
  ];

  hasTimer = cfg.dates != null && cfg.dates != [ ];

  inside = dirs: path: lib.any (dir: path == dir || lib.hasPrefix "${dir}/" path) dirs;
  homes = [
    "/home"
    "/root"
    "/run/user"
  ];
  needsHome = lib.any (inside homes) (
    writable ++ lib.optional (repo != null) (lib.removePrefix "file://" repo) ++ lib.optional (signers != null) signers
  );

  # Directories that belong to someone else as a whole; what lies below is fine, except below the last two.
  reserved = [
    "/"
    "/bin"
    "/boot"
    "/dev"
    "/etc"
    "/home"
    "/nix"
    "/proc"
    "/root"
    "/run"
    "/sys"
    "/tmp"
    "/usr"
    "/var"
    "/var/lib"
  ];
  targetIsSane =
    !(lib.elem target reserved)
    && !(inside [
      "/nix"
      "/proc"
      "/sys"
      "/dev"
      stateDir
    ] target);

  # Not `/nix/store`: the store may be elsewhere.
  inStore = file: lib.hasPrefix builtins.storeDir file;

  knowsFlakes =
    lib.elem "flakes" (config.nix.settings.experimental-features or [ ])
    || lib.hasInfix "flakes" config.nix.extraOptions;

  checkedConfig =
    let
      raw = format.generate "hyper-sync.toml" cfg.settings;
    in
    # The package that would check the file may be built for another machine than the one that builds.
    if pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform then
      pkgs.runCommand "hyper-sync-checked.toml" { } ''
        ${exe} config check ${raw}
        cp ${raw} $out
      ''
    else
      raw;

  path = [
    config.programs.ssh.package
    config.nix.package.out
    config.system.build.nixos-rebuild
    pkgs.gitMinimal
    pkgs.gnutar
    pkgs.gzip
    pkgs.util-linux
    pkgs.xz
    # Where a person would find the tools that `[validate]` names.
    "/run/current-system/sw"
  ]
  # `gpgv`, for a keyring; ssh-keygen, for allowed signers, comes with ssh.
  ++ lib.optional (signers != null) pkgs.gnupg;

  nixEnvironment =
    config.nix.envVars
    // lib.optionalAttrs (config.environment.sessionVariables ? NIX_PATH) {
      inherit (config.environment.sessionVariables) NIX_PATH;
    }
    # Nix refuses to work without a home.
    // {
      HOME = "/root";
    };

  # A run may switch to a system in which these units look different or are gone: that must not end the run that
  # switches. The next start uses the new unit.
  survivesSwitch = {
    restartIfChanged = false;
    stopIfChanged = false;
    unitConfig.X-StopOnRemoval = false;
  };
in
{
  imports = [ ./options.nix ];

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion =
          !(lib.any inStore (
            lib.attrVals (lib.intersectLists [ "token" "ssh_key" ] (lib.attrNames credentials)) credentials
          ));
        message = ''
          `services.hyper-sync.tokenFile` or `sshKeyFile` is in the Nix store, which every user of this machine can read.
          Write the path as a string that names a file outside the store, such as "/run/secrets/hyper-sync-token",
          or let a secrets module (sops-nix, agenix) provide the file. Replace the secret: the store keeps what it saw.
        '';
      }
      {
        assertion = repo != null && repoIsMeant;
        message = ''
          `services.hyper-sync.repo` is not set. Only the target of Hyper-NixOS (${hyperNixosTarget}) has a repository by
          default, and `services.hyper-sync.target` is ${target}.
          Set `services.hyper-sync.repo`, such as "you/your-config".
        '';
      }
      {
        assertion = !hasPassword;
        message = ''
          `services.hyper-sync.repo` has a password in it, and would be readable in the Nix store.
          Remove it from the address and put it into the file that `services.hyper-sync.tokenFile` names,
          or use `ssh://` with `services.hyper-sync.sshKeyFile`.
        '';
      }
      {
        assertion = targetIsSane;
        message = ''
          `services.hyper-sync.target` is ${target}, which is not a directory that can be kept equal to a commit:
          the service would need to write the whole of it.
          Use a directory of its own, such as "/etc/nixos" or "/etc/hypervisor/src", not inside `/nix` or ${stateDir}.
        '';
      }
      {
        assertion = lib.intersectLists reserved published == [ ];
        message = ''
          `services.hyper-sync` would write its metrics or its state file into a directory such as `/var/lib`, which belongs
          to others as a whole, and the sandboxed service would have to be let into all of it.
          Give `services.hyper-sync.metricsFile` (or `settings.state_file`) a directory of its own, such as
          "/var/lib/node-exporter-textfiles".
        '';
      }
      {
        assertion = config.nix.enable;
        message = ''
          `services.hyper-sync` rebuilds this machine with Nix, but `nix.enable` is false.
          Set `nix.enable = true`, or disable `services.hyper-sync` on this machine.
        '';
      }
      {
        assertion = config.system.switch.enable;
        message = ''
          `services.hyper-sync` activates what it builds, but `system.switch.enable` is false: the system has no
          `switch-to-configuration`.
          Set `system.switch.enable = true`, or only follow the branch with `services.hyper-sync.rebuildAction = null`.
        '';
      }
      {
        assertion = !config.system.autoUpgrade.enable;
        message = ''
          `services.hyper-sync` and `system.autoUpgrade` both rebuild this machine and would undo each other.
          Set `system.autoUpgrade.enable = false`, or disable `services.hyper-sync`.
        '';
      }
      {
        assertion = !(config.services.comin.enable or false);
        message = ''
          `services.hyper-sync` and `services.comin` both deploy to this machine and would undo each other.
          Set `services.comin.enable = false`, or disable `services.hyper-sync`.
        '';
      }
      {
        assertion = !(config.services.self-deploy.enable or false);
        message = ''
          `services.hyper-sync` and `services.self-deploy` both rebuild this machine and would undo each other.
          Set `services.self-deploy.enable = false`, or disable `services.hyper-sync`.
        '';
      }
      {
        assertion =
          reboots
          -> lib.elem cfg.rebuildAction [
            "switch"
            "boot"
          ];
        message = ''
          `services.hyper-sync.allowReboot` reboots into the new system, but the rebuild action does not make it the
          boot default.
          Set `services.hyper-sync.rebuildAction` to "switch" or "boot", or set `allowReboot = false`.
        '';
      }
      {
        assertion = cfg.rebootWindow != null -> cfg.rebootWindow.lower != cfg.rebootWindow.upper;
        message = ''
          `services.hyper-sync.rebootWindow` begins and ends at the same minute, so no reboot would ever happen.
          Give it two different times, or set it to null to allow a reboot at any time.
        '';
      }
    ];

    warnings =
      lib.optional config.boot.isContainer ''
        `services.hyper-sync` is enabled in a container, which has no boot loader and whose system usually belongs to its
        host: a rebuild inside may fail or be undone.
      ''
      ++ lib.optional (rebuilds && !knowsFlakes) ''
        `services.hyper-sync` builds a flake, but `nix.settings.experimental-features` does not name "flakes"; a manual
        `nixos-rebuild --flake` would fail. Add [ "nix-command" "flakes" ].
      '';

    # A list of one's own replaces the program's.
    services.hyper-sync.settings = lib.mkIf (cfg.flags != [ ]) {
      rebuild.extra_args = lib.mkDefault (impure ++ cfg.flags);
    };

    environment = {
      systemPackages = [ cfg.package ];
      etc."hyper-sync/config.toml".source = checkedConfig;
    };

    systemd.services.hyper-sync-fetch = lib.mkMerge [
      survivesSwitch
      {
        description = "Sync of the NixOS configuration with its repository";
        documentation = [ "man:hyper-sync(1)" ];
        after = [
          "network-online.target"
          # A clock that is wrong takes good certificates for expired.
          "time-sync.target"
        ];
        wants = [ "network-online.target" ];
        inherit path;
        # No HOME: `/root` is out of sight, and git takes a home that it may not enter for an error.
        environment =
          lib.mapAttrs' (
            name: _: lib.nameValuePair "HYPER_SYNC_${lib.toUpper name}_FILE" "%d/${name}"
          ) credentials
          // lib.optionalAttrs buildsFirst nixEnvironment
          // config.networking.proxy.envVars;

        serviceConfig = {
          Type = "oneshot";
          # The sandbox opens what is there. At every start and outside of it, for a target that somebody has removed is
          # to come back with the next sync.
          ExecStartPre =
            "+"
            + utils.escapeSystemdExecArgs (
              [
                "/bin/sh"
                "-c"
                ''umask 022 && exec mkdir -p -- "$@"''
                "mkdir"
              ]
              ++ writable
            );
          # Validates first. Only what would make the sync unsafe stops it, for a sync is often the repair of the rest;
          # what stops a rebuild is checked again before the rebuild.
          ExecStart = utils.escapeSystemdExecArgs [
            exe
            "--skip-rebuild"
            "--sandboxed"
          ];
          # Not reached, rate limited, another run is active, changes wait: a later run tries again. 13: a commit that does
          # not build is not tried again yet. A failed unit would turn the next switch's exit code into "some unit failed".
          # How long the first two may last is judged at the end of `hyper-sync.service`.
          SuccessExitStatus = "3 5 10 13 20";
          # The limits of the configuration end a download earlier; this is for what they do not see. `rebuild.timeout` ends
          # a build.
          TimeoutStartSec = if buildsFirst then "infinity" else "30min";
          # Time to finish an apply that has begun.
          TimeoutStopSec = "30s";
          KillMode = "mixed";
          LoadCredential = lib.mapAttrsToList (name: file: "${name}:${file}") credentials;
          StateDirectory = "hyper-sync";
          StateDirectoryMode = "0700";
        }
        // lib.optionalAttrs (!buildsFirst) (
          import ./hardening.nix {
            inherit writable needsHome;
          }
        );
      }
    ];

    systemd.services.hyper-sync = lib.mkMerge [
      survivesSwitch
      {
        description = "Update of the NixOS configuration and rebuild of the system";
        documentation = [ "man:hyper-sync(1)" ];
        requires = [ "hyper-sync-fetch.service" ];
        after = [
          "hyper-sync-fetch.service"
        ]
        # The first run after a boot judges it.
        ++ lib.optional confirms "hyper-sync-confirm.service";
        inherit (cfg) onFailure;
        inherit path;
        environment = nixEnvironment // config.networking.proxy.envVars;

        # Not sandboxed: the activation inherits what is set here, and a mount namespace, a missing capability or a
        # system call filter breaks it in ways that show only later (boot loader, setuid wrappers, kernel modules).
        serviceConfig = {
          Type = "oneshot";
          ExecStart =
            (
              if !rebuilds then
                # Says what the sync brought and what waits to be built.
                [
                  (utils.escapeSystemdExecArgs [
                    exe
                    "status"
                  ])
                ]
              else
                [
                  (utils.escapeSystemdExecArgs [
                    exe
                    "rebuild"
                    "--if-pending"
                  ])
                ]
                ++ lib.optional reboots reboot
            )
            # Fails where the repository was not reached for longer than `failureGrace`, or where a run or an activation hangs.
            ++ [
              (utils.escapeSystemdExecArgs [
                exe
                "overdue"
              ])
            ];
          # 10: a run by hand holds the lock: it does what this one would have done; `overdue` fails where that takes too
          # long. 13: a new system was reverted, or a commit that failed is not tried again; `status` and the metrics show
          # both. 75: the repository was not reached.
          SuccessExitStatus = "10 13 75";
          # `rebuild.timeout` ends a build that hangs; an activation must not be killed half way.
          TimeoutStartSec = "infinity";
          # `nixos-rebuild build` leaves its `result` link in the working directory.
          WorkingDirectory = stateDir;
          StateDirectory = "hyper-sync";
          StateDirectoryMode = "0700";
        }
        // lib.optionalAttrs hasTimer {
          ExecStopPost = utils.escapeSystemdExecArgs [
            "/bin/sh"
            "-c"
            ''[ "$EXIT_STATUS" != 75 ] || exec systemctl --no-block restart hyper-sync-retry.timer''
          ];
        };
      }
    ];

    # Checks a system on trial after it was booted. It does not hold up the boot. Where the boot loader counts boots, the
    # boot counts as a success only after it.
    systemd.services.hyper-sync-confirm = lib.mkIf confirms (
      lib.mkMerge [
        survivesSwitch
        {
          description = "Health checks of the system that was booted";
          documentation = [ "man:hyper-sync(1)" ];
          wantedBy = [ "multi-user.target" ];
          requiredBy = [ "boot-complete.target" ];
          before = [ "boot-complete.target" ];
          after = [ "multi-user.target" ];
          inherit (cfg) onFailure;
          inherit path;
          environment = nixEnvironment // config.networking.proxy.envVars;
          serviceConfig = {
            Type = "oneshot";
            # Once for each boot: a switch would start it again.
            RemainAfterExit = true;
            ExecStart = utils.escapeSystemdExecArgs [
              exe
              "confirm"
            ];
            # As for `hyper-sync.service`. A system that failed its checks is another code: such a boot was not a success.
            SuccessExitStatus = "10 13";
            # `health.within` ends the checks.
            TimeoutStartSec = "infinity";
            WorkingDirectory = stateDir;
            StateDirectory = "hyper-sync";
            StateDirectoryMode = "0700";
          };
        }
      ]
    );

    # Decides again while a reboot waits, also where no update falls into the window.
    systemd.services.hyper-sync-reboot = lib.mkIf reboots (
      lib.mkMerge [
        survivesSwitch
        {
          description = "Reboot into the new system, if that is needed and possible now";
          documentation = [ "man:hyper-sync(1)" ];
          inherit (cfg) onFailure;
          inherit path;
          environment = nixEnvironment // config.networking.proxy.envVars;
          serviceConfig = {
            Type = "oneshot";
            ExecStart = reboot;
            # As for `hyper-sync.service`.
            SuccessExitStatus = "10 13";
            WorkingDirectory = stateDir;
            StateDirectory = "hyper-sync";
            StateDirectoryMode = "0700";
          };
        }
      ]
    );

    systemd.timers = lib.mkMerge [
      (lib.mkIf reboots {
        # `hyper-sync reboot` starts it while a reboot waits, and stops it after that.
        hyper-sync-reboot = {
          description = "Next decision about the reboot that the new system waits for";
          timerConfig = {
            OnCalendar = "*:0/5";
            AccuracySec = "1s";
          };
        };
      })
      (lib.mkIf hasTimer {
        hyper-sync = {
          description = "Regular update of the NixOS configuration";
          wantedBy = [ "timers.target" ];
          timerConfig = {
            OnCalendar = cfg.dates;
            RandomizedDelaySec = cfg.randomizedDelaySec;
            FixedRandomDelay = cfg.fixedRandomDelay;
            Persistent = cfg.persistent;
          };
        };
        # Started where the repository was not reached. Not `Restart=`: that repeats one unit of the two, and a unit that
        # waits for its restart counts as failed in a switch.
        hyper-sync-retry = {
          description = "Another update of the NixOS configuration soon";
          timerConfig = {
            Unit = "hyper-sync.service";
            OnActiveSec = "3min";
            RandomizedDelaySec = "3min";
            RemainAfterElapse = false;
          };
        };
      })
    ];
  };

  meta.maintainers = [ ];
}
