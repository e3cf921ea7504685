//! Whether what is written to /etc is still there after the next boot.
//!
//! In: the mounts, os-release, the kernel command line, marks of containers. Out: what makes /etc lose it, and what would
//! last instead. Follows proc_pid_mountinfo(5), os-release(5), the kernel's overlayfs.rst, ostree's
//! prepare-root.conf.

use super::command_line::CommandLine;

/// What was read of the machine's storage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StorageFacts {
    /// `/proc/self/mountinfo`; none for an image.
    pub(crate) mounts: Option<String>,
    /// `/etc/os-release`, or `/usr/lib/os-release`.
    pub(crate) os_release: String,
    /// What says that this is a container: `docker`, `podman`, `lxc`.
    pub(crate) container: Option<String>,
    /// `/usr/lib/ostree/prepare-root.conf` and `/etc/ostree/prepare-root.conf`.
    pub(crate) prepare_root: String,
}

/// Why what is written to /etc does not last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volatile {
    /// The reason, a whole clause.
    pub(crate) why: String,
    /// What lasts instead.
    pub(crate) instead: &'static str,
    /// Whether it is lost in any case.
    pub(crate) is_sure: bool,
}

impl Volatile {
    /// `lost at the next boot: REASON`.
    pub(crate) fn told(&self) -> String {
        let is = if self.is_sure { "is" } else { "may be" };
        format!("{is} lost at the next boot: {}", self.why)
    }
}

/// Image systems that build /etc anew, by `ID` of os-release, and where they are configured.
const IMAGES: [(&str, &str); 12] = [
    (
        "cos",
        "set the sysctls in the cloud-config of the instance's user-data",
    ),
    ("rancheros", "set rancher.sysctl in the cloud-config"),
    (
        "bottlerocket",
        "set settings.kernel.sysctl in the machine's user-data",
    ),
    ("talos", "set machine.sysctls in the machine config"),
    ("kairos", "set the sysctls in the cloud-config of the image"),
    (
        "nixos",
        "set boot.kernel.sysctl in the system's configuration",
    ),
    (
        "elemental",
        "set the sysctls in the cloud-config of the image",
    ),
    ("k3os", "set k3os.sysctls in config.yaml"),
    (
        "guix",
        "set sysctl-service-type in the system's configuration",
    ),
    ("haos", "set the sysctls where the system is built"),
    ("libreelec", "set the sysctls in /storage/.config"),
    ("tails", "set the sysctls in the persistent storage"),
];
/// Words of a kernel command line that have the root file system changed in memory alone; options
/// may follow a colon.
const IN_MEMORY: [&str; 11] = [
    "boot=casper",
    "boot=live",
    "boot=overlay",
    "overlayroot=tmpfs",
    "rd.live.image",
    "systemd.volatile",
    "systemd.volatile=1",
    "systemd.volatile=on",
    "systemd.volatile=overlay",
    "systemd.volatile=true",
    "systemd.volatile=yes",
];
/// Words that keep the changes of a live system after all.
const PERSISTENT: [&str; 4] = [
    "persistence",
    "persistent",
    "rd.live.overlay",
    "systemd.volatile=no",
];
/// Containers whose files go with them.
const THROWN_AWAY: [&str; 6] = [
    "docker",
    "podman",
    "oci",
    "containerd",
    "crio",
    "kubernetes",
];
/// cttune's own sandbox has its /etc here: it is meant to be thrown away.
const SANDBOX: &str = "/run/cttune-sandbox";

/// Why /etc loses what is written to it; none where it lasts.
pub(crate) fn volatile(facts: &StorageFacts, command_line: &CommandLine) -> Option<Volatile> {
    let sure = |why: String, instead| {
        Some(Volatile {
            is_sure: true,
            why,
            instead,
        })
    };
    let id = os_id(&facts.os_release);
    if let Some((name, instead)) = IMAGES.iter().find(|(name, _)| *name == id) {
        return sure(
            format!("{name} makes /etc anew from its configuration"),
            instead,
        );
    }
    let mounts = parse(facts.mounts.as_deref().unwrap_or_default());
    let etc = covering(&mounts, "/etc/sysctl.d");
    if etc.is_some_and(|mount| {
        mount.options.contains(SANDBOX) || mount.root.contains("cttune-sandbox")
    }) {
        return None;
    }
    let is_transient = |line: &str| {
        let line = line.replace(' ', "");
        line == "transient=true" || line == "transient=1"
    };
    if facts.prepare_root.lines().any(is_transient) {
        let why = "ostree's prepare-root.conf makes /etc transient".to_owned();
        return sure(why, "build the files into the image");
    }
    let mut words = IN_MEMORY
        .iter()
        .filter(|word| command_line.has_with_options(word));
    let keeps = PERSISTENT.iter().any(|word| command_line.has(word));
    if let (Some(word), false, Some(place)) = (words.next(), keeps, command_line.from()) {
        return sure(
            format!("`{word}` ({place}) has changes of / kept in memory"),
            "build the files into the image, or remove that word",
        );
    }
    let etc = etc?;
    let container = facts.container.as_deref();
    if etc.kind == "overlay" && container.is_some_and(|kind| THROWN_AWAY.contains(&kind)) {
        return sure(
            "this is a container, whose files go when it is made anew".to_owned(),
            "set the sysctls where the container is described (--sysctl), and the limits on its host",
        );
    }
    match etc.kind.as_str() {
        "tmpfs" | "ramfs" | "rootfs" => sure(
            format!("/etc is on a {} ({})", etc.kind, etc.point),
            "write the files where /etc is made from: the image, the user-data, lbu commit",
        ),
        "overlay" if upper(etc).is_some() => on_overlay(etc, &mounts),
        kind @ ("overlay" | "squashfs" | "erofs" | "iso9660" | "cramfs") => sure(
            format!("/etc is on a read-only {kind}"),
            "build the files into the image",
        ),
        _ => None,
    }
}

/// Where an overlay keeps its changes; none where it is read-only.
fn upper(etc: &Mount) -> Option<&str> {
    let mut options = etc.options.split(',');
    options.find_map(|option| option.strip_prefix("upperdir="))
}

fn on_overlay(etc: &Mount, mounts: &[Mount]) -> Option<Volatile> {
    let upper = upper(etc)?;
    let below = covering(mounts, upper)?;
    let is_memory = matches!(below.kind.as_str(), "tmpfs" | "ramfs");
    // Mounted before the root was changed, it is somewhere that has no path now.
    let is_hidden = below.kind == "overlay" && below.point == etc.point;
    let place = if is_memory {
        format!("in a {} ({upper})", below.kind)
    } else {
        format!("where cttune cannot see ({upper})")
    };
    (is_memory || is_hidden).then_some(Volatile {
        is_sure: is_memory,
        why: format!("/etc is an overlay that keeps its changes {place}"),
        instead: "write the files to the file system below the overlay, or into the image",
    })
}

fn os_id(os_release: &str) -> String {
    let mut values = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID="));
    let id = values.next_back().unwrap_or_default();
    id.trim().trim_matches(['"', '\'']).to_owned()
}

struct Mount {
    root: String,
    point: String,
    kind: String,
    options: String,
}

fn parse(mountinfo: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (own, file_system) = line.split_once(" - ")?;
        let own: Vec<&str> = own.split(' ').collect();
        let mut file_system = file_system.split(' ');
        Some(Mount {
            root: (*own.get(3)?).to_owned(),
            point: (*own.get(4)?).to_owned(),
            kind: file_system.next()?.to_owned(),
            options: file_system.nth(1).unwrap_or_default().to_owned(),
        })
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// The mount that a path is on: the longest point, of several the last.
fn covering<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    let covers = |mount: &&Mount| {
        let rest = path.strip_prefix(mount.point.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    mounts
        .iter()
        .filter(covers)
        .max_by_key(|mount| mount.point.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: &str = "27 1 254:0 / / rw - ext4 /dev/vda rw\n";

    fn why(mounts: &str, os_release: &str, container: Option<&str>) -> Option<String> {
        let facts = StorageFacts {
            mounts: Some(mounts.to_owned()),
            os_release: os_release.to_owned(),
            container: container.map(str::to_owned),
            prepare_root: String::new(),
        };
        volatile(&facts, &CommandLine::default()).map(|volatile| volatile.why)
    }

    #[test]
    fn a_disk_lasts_and_memory_does_not() {
        let on_tmpfs = DISK.to_owned() + "30 27 0:5 / /etc rw - tmpfs tmpfs rw\n";
        let upper = DISK.to_owned()
            + "31 27 0:6 / /media/rw rw - tmpfs x rw\n32 27 0:7 / / rw - overlay o rw,lowerdir=/a,upperdir=/media/rw/up,workdir=/w\n";
        let on_disk = DISK.to_owned()
            + "32 27 0:7 / /etc rw - overlay o rw,lowerdir=/etc,upperdir=/var/etc,workdir=/w\n";
        for (mounts, expected) in [
            (DISK, None),
            (
                "1 1 0:2 / / rw - rootfs rootfs rw\n",
                Some("/etc is on a rootfs (/)"),
            ),
            (
                "1 1 0:2 / / ro - squashfs /dev/loop0 ro\n",
                Some("/etc is on a read-only squashfs"),
            ),
            (&on_tmpfs, Some("/etc is on a tmpfs (/etc)")),
            (
                &upper,
                Some("/etc is an overlay that keeps its changes in a tmpfs (/media/rw/up)"),
            ),
            (&on_disk, None),
            (
                "1 1 0:7 / / ro - overlay o ro,lowerdir=/a:/b\n",
                Some("/etc is on a read-only overlay"),
            ),
            (
                "1 1 0:7 / / rw - overlay o rw,lowerdir=/a,upperdir=/up,workdir=/w\n",
                Some("/etc is an overlay that keeps its changes where cttune cannot see (/up)"),
            ),
            ("", None),
        ] {
            assert_eq!(
                why(mounts, "ID=debian\n", None).as_deref(),
                expected,
                "{mounts}"
            );
        }
    }

    #[test]
    fn images_containers_and_the_sandbox_are_known() {
        let overlay =
            "32 27 0:7 / / rw - overlay o rw,lowerdir=/a,upperdir=/var/lib/docker/x,workdir=/w\n";
        assert!(
            why(overlay, "ID=debian", Some("docker"))
                .unwrap()
                .contains("container")
        );
        assert_eq!(why(DISK, "ID=debian", Some("docker")), None);
        assert_eq!(why(DISK, "ID=debian", Some("lxc")), None);
        assert!(why(DISK, "NAME=x\nID=bottlerocket\n", None).is_some());
        assert!(why(DISK, "ID=\"talos\"\n", None).is_some());
        assert_eq!(why(DISK, "ID=fedora\nVARIANT_ID=coreos\n", None), None);
        let sandbox = DISK.to_owned()
            + "31 27 0:6 / /run rw - tmpfs x rw\n32 27 0:7 / /etc rw - overlay o rw,upperdir=/run/cttune-sandbox/etc\n";
        assert_eq!(why(&sandbox, "ID=debian", None), None);
        let transient = StorageFacts {
            prepare_root: "[etc]\ntransient = true\n".to_owned(),
            mounts: Some(DISK.to_owned()),
            ..StorageFacts::default()
        };
        assert!(volatile(&transient, &CommandLine::default()).is_some());
    }
}
