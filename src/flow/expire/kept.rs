//! Why a flow was left alone.

macro_rules! reasons {
    ($( $variant:ident $name:literal $doc:literal, )*) => {
        /// The first reason that was found to leave a flow alone.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum KeptWhy {
            $( #[doc = $doc] $variant, )*
        }

        impl KeptWhy {
            #[cfg(test)]
            pub(crate) const ALL: &'static [KeptWhy] = &[ $( KeptWhy::$variant, )* ];

            /// The name that machines read; it does not change.
            pub(crate) fn name(self) -> &'static str {
                match self { $( KeptWhy::$variant => $name, )* }
            }

            /// For people: what is true of these flows.
            pub(crate) fn about(self) -> &'static str {
                match self { $( KeptWhy::$variant => $doc, )* }
            }
        }
    };
}

reasons! {
    Keep "keep" "a --keep protects them",
    SshSession "ssh-session" "the SSH session that runs cttune",
    Unconfirmed "unconfirmed" "their first packet has not left yet",
    Dying "dying" "the kernel is removing them",
    FixedTimeout "fixed-timeout" "their timeout was fixed, and the kernel refuses to change it",
    Offloaded "offloaded" "in a flowtable, which refreshes them",
    Internal "internal" "templates, or other entries for the kernel itself",
    Helper "helper" "a helper reads them, and other flows depend on them",
    Master "master" "another flow announced them",
    Gre "gre" "GRE, which keeps the timeouts that it was created with",
    Policy "policy" "a timeout policy with a longer timeout may apply to them",
    WithinTimeout "within-timeout" "no more time left than their timeout",
    NotEstablished "not-established" "not established TCP, the only flows that can be proven idle",
    NotAssured "not-assured" "packets were not seen both ways",
    UnacknowledgedData "unacknowledged-data" "data waits to be acknowledged",
    NotProven "not-proven" "nothing proves that they are idle: use --observe TIME",
    EndsSoon "ends-soon" "too little time is left to tell which timeout set it",
    Ambiguous "ambiguous" "a timeout that held fits their time left: they may have sent just now",
    Younger "younger" "they exist for a shorter time than they would have been idle",
    Unseen "unseen" "the first look did not see them",
    Spoke "spoke" "they changed between two looks",
    NotStale "not-stale" "idle, but not for long enough",
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_in_kebab_case_and_no_two_the_same() {
        let names: HashSet<_> = KeptWhy::ALL.iter().map(|why| why.name()).collect();
        assert_eq!(names.len(), KeptWhy::ALL.len());
        let is_kebab = |name: &&str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        assert!(names.iter().all(is_kebab), "{names:?}");
    }
}
