//! Options that exclude each other, refused before anything is read.

use crate::cli::args::{self, Format, Global};
use crate::cli::failure::Failure;

pub(super) fn impossible(args: &args::Metrics, global: &Global) -> Result<(), Failure> {
    if global.root.is_some() {
        return Err(Failure::usage("--root cannot go with metrics")
            .hint("an image has no running kernel, and so no numbers"));
    }
    if args.request.is_some() && global.format != Format::Munin {
        return Err(
            Failure::usage("config and autoconf are requests of munin").hint("add --format munin")
        );
    }
    if args.all_netns && global.netns.is_some() {
        return Err(Failure::usage("--all-netns cannot go with --netns")
            .hint("--netns is about one namespace"));
    }
    if args.all_netns && global.format == Format::Munin {
        return Err(Failure::usage("munin has a plugin for each namespace")
            .hint("link contrib/munin/cttune as cttune_NAME"));
    }
    let Some(path) = &args.textfile else {
        return Ok(());
    };
    if !matches!(global.format, Format::Text | Format::Prometheus) {
        return Err(
            Failure::usage("--textfile is in the format of Prometheus").hint("leave out --format")
        );
    }
    if path.extension().is_none_or(|ending| ending != "prom") {
        let message = format!("--textfile {}: the name must end in .prom", path.display());
        return Err(Failure::usage(message).hint("node_exporter ignores all other names"));
    }
    Ok(())
}
