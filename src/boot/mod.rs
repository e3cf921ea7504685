//! sysctl.d text: who wins for which reader, and what survives a reboot. Pure.
