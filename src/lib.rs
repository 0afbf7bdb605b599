//! Keeps a NixOS configuration directory equal to a commit of a git repository.
