//! What the kernel's command line says about conntrack.
//!
//! In: a text and where it comes from, `/proc/cmdline` or a boot loader's file. Out: the sysctls,
//! the module's options and deny lists in it. Follows the kernel's
//! Documentation/admin-guide/kernel-parameters.txt, modprobe(8), systemd-modules-load(8).

use std::path::{Path, PathBuf};

use super::SourceLine;
use super::modules::{self, ConfFile};
use super::pattern;
use super::shell::{self, Variables};
use crate::boot::Reader;
use crate::tunable::Key;

/// The command line that the next boot will have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CommandLine {
    /// Its words; none where no command line was found.
    words: Vec<String>,
    /// Where it was read; none where it was not.
    from: Option<SourceLine>,
    /// Whether the boot loader has another entry that differs in what matters here, or a word that
    /// cttune cannot work out.
    is_open: bool,
}

/// A file of a boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoaderFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl LoaderFile {
    /// An entry of the Boot Loader Specification.
    fn is_entry(&self) -> bool {
        let folder = self.path.parent();
        folder.is_some_and(|folder| folder.ends_with("entries"))
    }

    /// Whether it is read for the sake of another.
    fn is_part(&self) -> bool {
        self.path.starts_with(GRUB_FOLDER)
            || GRUB_ENVIRONMENTS
                .iter()
                .any(|path| self.path == Path::new(path))
    }
}

/// Where boot loaders keep command lines; the first that has one counts.
pub(crate) const LOADER_FILES: [&str; 19] = [
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/extlinux/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/boot/firmware/cmdline.txt",
    "/boot/cmdline.txt",
    "/boot/armbianEnv.txt",
    "/boot/limine.conf",
    "/boot/limine/limine.conf",
    "/boot/refind_linux.conf",
    "/etc/zipl.conf",
    GRUB_DEFAULTS,
    "/etc/kernel/cmdline",
    "/usr/lib/kernel/cmdline",
    "/boot/efi/EFI/debian/grub.cfg",
    "/boot/efi/EFI/fedora/grub.cfg",
    "/boot/efi/EFI/redhat/grub.cfg",
];
/// A shell reads it, and behind it the files of the folder whose names end in `.cfg`.
const GRUB_DEFAULTS: &str = "/etc/default/grub";
pub(crate) const GRUB_FOLDER: &str = "/etc/default/grub.d";
/// Where `$kernelopts` of an entry is.
pub(crate) const GRUB_ENVIRONMENTS: [&str; 2] = ["/boot/grub2/grubenv", "/boot/grub/grubenv"];
/// Folders of entries of the Boot Loader Specification.
pub(crate) const ENTRY_FOLDERS: [&str; 3] = [
    "/boot/loader/entries",
    "/efi/loader/entries",
    "/boot/efi/loader/entries",
];
/// Words of entries that are started by hand.
const RESCUE: [&str; 5] = ["1", "emergency", "recovery", "rescue", "single"];

impl CommandLine {
    /// A command line as the running kernel got it.
    pub(crate) fn new(text: &str, from: SourceLine) -> Self {
        CommandLine {
            words: words(text),
            from: Some(from),
            is_open: false,
        }
    }

    /// The command line that a boot loader's files give, those of entries first. The first counts;
    /// what a later one of the same loader has besides makes it open.
    pub(crate) fn of_loader(files: &[LoaderFile]) -> Self {
        let entries = files.iter().filter(|file| file.is_entry());
        let mut found: Vec<CommandLine> = entries.flat_map(|file| in_file(file, files)).collect();
        if found.is_empty() {
            let others = files
                .iter()
                .filter(|file| !file.is_entry() && !file.is_part());
            found = others
                .map(|file| in_file(file, files))
                .find(|lines| !lines.is_empty())
                .unwrap_or_default();
        }
        let mut found = found.into_iter();
        let Some(mut first) = found.next() else {
            return CommandLine::default();
        };
        let matter = |line: &CommandLine| -> Vec<String> {
            let words = line.words.iter().map(|word| word.replace('-', "_"));
            words.filter(|word| matters(word)).collect()
        };
        let own = matter(&first);
        let is_rescue = |line: &CommandLine| RESCUE.iter().any(|word| line.has(word));
        first.is_open |= found.any(|other| !is_rescue(&other) && matter(&other) != own);
        first
    }

    /// Where it was read.
    pub(crate) fn from(&self) -> Option<&SourceLine> {
        self.from.as_ref()
    }

    /// The place of a command line of which a boot loader has others that differ.
    pub(crate) fn open_at(&self) -> Option<&SourceLine> {
        self.from().filter(|_| self.is_open)
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|one| one == word)
    }

    /// The same, perhaps with options behind a colon.
    pub(crate) fn has_with_options(&self, word: &str) -> bool {
        let options = |own: &String| {
            own.strip_prefix(word)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        self.words.iter().any(options)
    }

    /// The sysctls that the kernel sets before init runs: the name as it is written, the key that
    /// it means, and the value.
    pub(crate) fn sysctls(&self) -> impl Iterator<Item = (&str, Option<Key>, &str)> {
        let pairs = self.words.iter().filter_map(|word| {
            let name = word.strip_prefix("sysctl")?;
            name.strip_prefix(['.', '/'])?.split_once('=')
        });
        // The kernel takes a dot for a slash wherever it is.
        pairs.map(|(name, value)| {
            let path = name.replace('.', "/");
            (name, pattern::resolve(Reader::Procps, &path), value)
        })
    }

    /// The options of the conntrack module, its name in front or not.
    pub(crate) fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.words.iter().filter_map(|word| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let (module, option) = name.split_once('.')?;
            (module.replace('-', "_") == super::modules::MODULE).then_some((option, value))
        })
    }

    /// Words that are meant for conntrack and that nothing reads: `nf_conntrack_max=5`.
    pub(crate) fn strays(&self) -> impl Iterator<Item = &str> {
        let is_stray = |word: &&String| {
            let name = word.split('=').next().unwrap_or_default();
            let name = name.strip_prefix("net.netfilter.").unwrap_or(name);
            name.starts_with("nf_conntrack_")
                || name.starts_with("ip_conntrack_")
                || name.starts_with("net.nf_conntrack")
        };
        self.words.iter().filter(is_stray).map(String::as_str)
    }

    /// Whether a list such as `module_blacklist=a,b` names the module.
    pub(crate) fn lists(&self, option: &str, module: &str) -> bool {
        self.values(option)
            .flat_map(|value| value.split(','))
            .any(|name| name.replace('-', "_") == module)
    }

    /// The modules that systemd-modules-load has to load.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = &str> {
        self.values("modules_load")
            .flat_map(|value| value.split(','))
    }

    /// Whether systemd has to mask a service.
    pub(crate) fn masks(&self, service: &str) -> bool {
        self.values("systemd.mask")
            .any(|unit| unit.trim_end_matches(".service") == service)
    }

    /// The values of an option, in whose name a hyphen is as good as an underscore.
    fn values(&self, option: &str) -> impl Iterator<Item = &str> {
        let pairs = self.words.iter().filter_map(|word| word.split_once('='));
        pairs.filter_map(move |(name, value)| (name.replace('-', "_") == option).then_some(value))
    }
}

/// The words of a command line; double quotes keep blanks inside. What follows `--` is for init.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut is_quoted = false;
    for c in text.chars().chain([' ']) {
        match c {
            '"' => is_quoted = !is_quoted,
            c if c.is_whitespace() && !is_quoted => {
                if word == "--" {
                    break;
                }
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    words
}

/// Whether a word may decide about conntrack.
fn matters(word: &str) -> bool {
    let starts = [
        "boot=",
        "net.",
        "overlayroot",
        "rd.live",
        "sysctl",
        "modules_load=",
        "module_blacklist=",
        "modprobe.",
        "systemd.",
    ];
    word.contains("conntrack") || starts.iter().any(|start| word.starts_with(start))
}

/// The command lines in a boot loader's file; `files` has those that are read for its sake.
fn in_file(file: &LoaderFile, files: &[LoaderFile]) -> Vec<CommandLine> {
    let name = file
        .path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let found = match name {
        "cmdline" | "cmdline.txt" => {
            let lines = file
                .text
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'));
            vec![(1, lines.collect::<Vec<_>>().join(" "))]
        }
        "grub" => return of_grub_defaults(files).into_iter().collect(),
        "armbianEnv.txt" => assigned(file, &["extraargs="]),
        "limine.conf" => assigned(file, &["cmdline:", "kernel_cmdline:"]),
        // `"name" "words"`: the name is a word that means nothing here.
        "refind_linux.conf" => assigned(file, &["\""]),
        "zipl.conf" => assigned(file, &["parameters=", "parameters ="]),
        _ => of_entries(file, ending == "cfg", files),
    };
    let line = |(line, text): (usize, String)| {
        let from = SourceLine {
            file: file.path.clone(),
            line,
        };
        CommandLine::new(&text, from)
    };
    found
        .into_iter()
        .map(line)
        .filter(|line| !line.words.is_empty())
        .collect()
}

/// The lines that begin so, each a command line, without quotes.
fn assigned(file: &LoaderFile, starts: &[&str]) -> Vec<(usize, String)> {
    let lines = (1..).zip(file.text.lines());
    let found = lines.filter_map(|(number, line)| {
        let line = line.trim_start();
        let rest = starts.iter().find_map(|start| line.strip_prefix(start))?;
        Some((number, rest.replace('"', " ")))
    });
    found.collect()
}

/// `linux IMAGE WORDS`, `options WORDS`, `APPEND WORDS`. An entry of the Boot Loader Specification
/// may have several lines with options, and name grub's variable for the words of all.
fn of_entries(file: &LoaderFile, is_cfg: bool, files: &[LoaderFile]) -> Vec<(usize, String)> {
    let conf = ConfFile {
        path: file.path.clone(),
        bytes: Some(file.text.clone().into_bytes()),
    };
    let of_all = files.iter().find_map(|file| {
        let lines = file.is_part().then(|| file.text.lines());
        lines?.find_map(|line| line.strip_prefix("kernelopts="))
    });
    let lines = modules::lines(&conf)
        .into_iter()
        .filter_map(|(place, line)| {
            let (command, rest) = line.split_once([' ', '\t'])?;
            let rest = match command.to_ascii_lowercase().as_str() {
                // The image comes before its options.
                "linux" | "linux16" | "linuxefi" if is_cfg => {
                    rest.trim().split_once([' ', '\t'])?.1
                }
                "options" | "append" => rest,
                _ => return None,
            };
            let text = rest.replacen("$kernelopts", of_all.unwrap_or_default(), 1);
            Some((place.line, text))
        });
    let mut found: Vec<(usize, String)> = lines.collect();
    if file.is_entry() && found.len() > 1 {
        let all: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        found = vec![(found[0].0, all.join(" "))];
    }
    found
}

/// `/etc/default/grub` and the files behind it: both variables make up the command line of the first
/// entry.
fn of_grub_defaults(files: &[LoaderFile]) -> Option<CommandLine> {
    let is_it = |file: &&LoaderFile| {
        let is_cfg = file.path.extension().is_some_and(|ending| ending == "cfg");
        file.path == Path::new(GRUB_DEFAULTS) || is_cfg && file.path.starts_with(GRUB_FOLDER)
    };
    // Neither is in the environment of update-grub.
    let mut text = "GRUB_CMDLINE_LINUX=\nGRUB_CMDLINE_LINUX_DEFAULT=\n".to_owned();
    let mut from = None;
    for file in files.iter().filter(is_it) {
        let lines = (1..).zip(file.text.lines());
        let named = lines.filter(|(_, line)| line.contains("GRUB_CMDLINE_LINUX"));
        let place = named.last().map(|(line, _)| SourceLine {
            file: file.path.clone(),
            line,
        });
        from = place.or(from);
        text.push_str(&file.text);
        text.push('\n');
    }
    text.push_str(": $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT\n");
    let commands = shell::commands(&text, &Variables::default(), &NoFiles);
    let words = commands.last()?.words.iter().skip(1);
    let known: Vec<&str> = words
        .clone()
        .filter_map(|word| word.value.as_deref())
        .collect();
    let line = CommandLine {
        words: self::words(&known.join(" ")),
        from: Some(from?),
        is_open: words.clone().any(|word| word.value.is_none()),
    };
    (line.is_open || !line.words.is_empty()).then_some(line)
}

/// A shell that may read no file.
struct NoFiles;

impl shell::Files for NoFiles {
    fn text(&self, _: &str) -> Option<&str> {
        None
    }

    fn names(&self, _: &str) -> &[String] {
        &[]
    }

    fn is_packaged(&self, _: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> CommandLine {
        let from = SourceLine {
            file: "/proc/cmdline".into(),
            line: 1,
        };
        CommandLine::new(text, from)
    }

    #[test]
    fn sysctls_options_and_lists_are_found() {
        let line = line(
            "quiet sysctl.net.netfilter.nf_conntrack_max=5 sysctl.net/nf_conntrack_max=6 sysctl.vm.x=1 \
             nf_conntrack.hashsize=512 nf-conntrack.acct=1 nf_nat.x=1 \"a=b c\" nf_conntrack_max=7 \
             module_blacklist=x,nf-conntrack modules_load=a,nf_nat -- sysctl.net.netfilter.nf_conntrack_acct=1",
        );
        let sysctls: Vec<_> = line
            .sysctls()
            .filter_map(|(_, key, value)| Some((key?, value)))
            .collect();
        assert_eq!(sysctls, [(Key::Max, "5"), (Key::Max, "6")]);
        let options: Vec<_> = line.options().collect();
        assert_eq!(options, [("hashsize", "512"), ("acct", "1")]);
        assert_eq!(line.strays().collect::<Vec<_>>(), ["nf_conntrack_max=7"]);
        assert!(line.lists("module_blacklist", "nf_conntrack"));
        assert!(!line.lists("modprobe.blacklist", "nf_conntrack"));
        assert_eq!(line.loaded().collect::<Vec<_>>(), ["a", "nf_nat"]);
    }

    #[test]
    fn boot_loaders_files_are_understood() {
        for (path, text, expected) in [
            (
                "/boot/grub/grub.cfg",
                "set x\nmenuentry 'a' {\n\tlinux\t/vmlinuz root=/dev/x ro a=1\n}\nlinux /b c=2\n",
                Some((3, "root=/dev/x")),
            ),
            (
                "/boot/loader/entries/a.conf",
                "title x\noptions root=y a=1\n",
                Some((2, "root=y")),
            ),
            (
                "/boot/extlinux/extlinux.conf",
                "LABEL l\n  APPEND root=z\n",
                Some((2, "root=z")),
            ),
            ("/etc/kernel/cmdline", "root=k\n", Some((1, "root=k"))),
            (
                "/etc/default/grub",
                "# x\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"root=g\"\n",
                Some((3, "root=g")),
            ),
            ("/boot/grub/grub.cfg", "set x\n", None),
            ("/etc/kernel/cmdline", "\n", None),
            (
                "/etc/kernel/cmdline",
                "# root=x\nroot=k\n",
                Some((1, "root=k")),
            ),
            (
                "/etc/default/grub",
                "GRUB_CMDLINE_LINUX=\"root=g\" # x\nGRUB_CMDLINE_LINUX+=' a=1'\n",
                Some((2, "root=g")),
            ),
            (
                "/boot/grub/grub.cfg",
                "linux /v \\\n root=c\n",
                Some((1, "root=c")),
            ),
            (
                "/boot/firmware/cmdline.txt",
                "root=r\n",
                Some((1, "root=r")),
            ),
            (
                "/boot/armbianEnv.txt",
                "extraargs=root=a\n",
                Some((1, "root=a")),
            ),
        ] {
            let file = LoaderFile {
                path: path.into(),
                text: text.to_owned(),
            };
            let line = CommandLine::of_loader(&[file]);
            let found = line
                .from()
                .map(|from| from.line)
                .zip(line.words.first().map(String::as_str));
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn entries_that_differ_in_what_matters_leave_it_open() {
        let entry = |name: &str, options: &str| LoaderFile {
            path: format!("/boot/loader/entries/{name}.conf").into(),
            text: format!("title x\noptions root=y\noptions {options}\n"),
        };
        let set = "sysctl.net.netfilter.nf_conntrack_max=5";
        for (first, second, is_open) in [
            (set, "quiet", true),
            (set, "single", false),
            ("quiet", "splash", false),
            ("nf-conntrack.hashsize=5", "nf_conntrack.hashsize=5", false),
        ] {
            let files = [entry("b", first), entry("a", second)];
            let line = CommandLine::of_loader(&files);
            assert_eq!(line.open_at().is_some(), is_open, "{first} {second}");
            assert!(line.has(first));
        }
    }

    #[test]
    fn names_are_read_as_the_kernel_reads_them() {
        for (word, key) in [
            ("sysctl/net/netfilter/nf_conntrack_max=5", Some(Key::Max)),
            ("sysctl.net/netfilter.nf_conntrack_max=5", Some(Key::Max)),
            ("sysctl.net.netfilter/nf_conntrack_max=5", Some(Key::Max)),
            ("sysctl_net.netfilter.nf_conntrack_max=5", None),
        ] {
            let line = line(word);
            let found = line.sysctls().next().and_then(|(_, key, _)| key);
            assert_eq!(found, key, "{word}");
        }
        let line = line("modules-load=nf-conntrack module-blacklist=x");
        assert_eq!(line.loaded().collect::<Vec<_>>(), ["nf-conntrack"]);
        assert!(line.lists("module_blacklist", "x"));
    }
}
