//! What the kernel's command line says about conntrack.
//!
//! In: a text and where it comes from, `/proc/cmdline` or a boot loader's file. Out: the sysctls,
//! the module's options and deny lists in it. Follows the kernel's
//! Documentation/admin-guide/kernel-parameters.txt, modprobe(8), systemd-modules-load(8).

use super::SourceLine;
use super::{pattern, statement};
use crate::boot::Reader;
use crate::tunable::Key;

/// The command line that the next boot will have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CommandLine {
    /// Its words; none where no command line was found.
    words: Vec<String>,
    /// Where it was read; none where it was not.
    from: Option<SourceLine>,
}

/// A file of a boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoaderFile {
    pub(crate) path: std::path::PathBuf,
    pub(crate) text: String,
}

/// Where boot loaders keep command lines; the first that has one counts.
pub(crate) const LOADER_FILES: [&str; 8] = [
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/efi/EFI/debian/grub.cfg",
    "/boot/extlinux/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/boot/cmdline.txt",
    "/etc/default/grub",
    "/etc/kernel/cmdline",
];
/// Folders of entries of the Boot Loader Specification.
pub(crate) const ENTRY_FOLDERS: [&str; 3] = [
    "/boot/loader/entries",
    "/efi/loader/entries",
    "/boot/efi/loader/entries",
];

impl CommandLine {
    /// A command line as the running kernel got it.
    pub(crate) fn new(text: &str, from: SourceLine) -> Self {
        CommandLine {
            words: words(text),
            from: Some(from),
        }
    }

    /// The command line that a boot loader's files give; entries of folders go before the others.
    pub(crate) fn of_loader(files: &[LoaderFile]) -> Self {
        let found = files.iter().find_map(|file| {
            let (line, text) = in_file(file)?;
            let from = SourceLine {
                file: file.path.clone(),
                line,
            };
            Some(CommandLine::new(&text, from))
        });
        found.unwrap_or_default()
    }

    /// Where it was read.
    pub(crate) fn from(&self) -> Option<&SourceLine> {
        self.from.as_ref()
    }

    /// The sysctls that the kernel sets before init runs: the name as it is written, the key that
    /// it means, and the value.
    pub(crate) fn sysctls(&self) -> impl Iterator<Item = (&str, Option<Key>, &str)> {
        let pairs = self
            .words
            .iter()
            .filter_map(|word| word.strip_prefix("sysctl.")?.split_once('='));
        pairs.map(|(name, value)| {
            let path = statement::path_of(Reader::Procps, name);
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
        let values = self
            .words
            .iter()
            .filter_map(|word| word.strip_prefix(option)?.strip_prefix('='));
        values
            .flat_map(|value| value.split(','))
            .any(|name| name.replace('-', "_") == module)
    }

    /// The modules that systemd-modules-load has to load.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = &str> {
        let values = self
            .words
            .iter()
            .filter_map(|word| word.strip_prefix("modules_load="));
        values.flat_map(|value| value.split(','))
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

/// The first command line in a boot loader's file, and its line.
fn in_file(file: &LoaderFile) -> Option<(usize, String)> {
    let name = file.path.file_name()?.to_str()?;
    let lines = file.text.lines().zip(1..);
    if matches!(name, "cmdline" | "cmdline.txt") {
        let text = file.text.trim();
        return (!text.is_empty()).then(|| (1, text.replace('\n', " ")));
    }
    if name == "grub" {
        return of_grub_defaults(&file.text);
    }
    let is_cfg = file.path.extension().is_some_and(|ending| ending == "cfg");
    let mut lines = lines.filter_map(|(line, number)| {
        let (command, rest) = line.trim().split_once([' ', '\t'])?;
        let command = command.to_ascii_lowercase();
        match command.as_str() {
            "linux" | "linux16" | "linuxefi" if is_cfg => {
                // The image comes before its options.
                rest.trim()
                    .split_once([' ', '\t'])
                    .map(|(_, options)| (number, options.to_owned()))
            }
            "options" | "append" => Some((number, rest.to_owned())),
            _ => None,
        }
    });
    lines.next()
}

/// `/etc/default/grub`: both variables make up the command line of the first entry.
fn of_grub_defaults(text: &str) -> Option<(usize, String)> {
    let value = |name: &str| {
        let lines = text.lines().zip(1..);
        let found = lines.filter_map(|(line, number)| {
            let value = line.trim().strip_prefix(name)?.strip_prefix('=')?;
            Some((number, value.trim().trim_matches(['"', '\'']).to_owned()))
        });
        found.last()
    };
    let always = value("GRUB_CMDLINE_LINUX");
    let default = value("GRUB_CMDLINE_LINUX_DEFAULT");
    let line = always.as_ref().or(default.as_ref())?.0;
    let texts = [always, default]
        .into_iter()
        .flatten()
        .map(|(_, text)| text);
    Some((line, texts.collect::<Vec<_>>().join(" ")))
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
}
