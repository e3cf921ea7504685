//! Door: sysctl tree, ctnetlink, module, host facts, network namespaces.
