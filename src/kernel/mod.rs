//! Door: sysctl tree, ctnetlink, module, host facts, network namespaces.

pub mod ctnetlink;
pub mod netns;
