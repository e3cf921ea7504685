//! The states of TCP and UDP that have a timeout, as nft and the kernel name them.

use serde::{Deserialize, Serialize};

use crate::tunable::Key;

/// What nft has timeouts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layer {
    Tcp,
    Udp,
}

impl Layer {
    pub(crate) const ALL: [Layer; 2] = [Layer::Tcp, Layer::Udp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Layer::Tcp => "tcp",
            Layer::Udp => "udp",
        }
    }

    /// Its states in the order of the kernel's numbers, which begin with 1.
    pub(crate) fn states(self) -> impl Iterator<Item = State> + Clone {
        let all = State::ALL.into_iter();
        all.filter(move |state| state.layer() == self)
    }
}

macro_rules! states {
    ($($state:ident $layer:ident $name:literal $default:literal $key:expr;)*) => {
        /// A state with a timeout.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum State { $($state,)* }

        impl State {
            pub(crate) const ALL: [State; 13] = [$(State::$state,)*];

            /// As nft writes it.
            pub(crate) fn name(self) -> &'static str {
                match self { $(State::$state => $name,)* }
            }

            pub(crate) fn layer(self) -> Layer {
                match self { $(State::$state => Layer::$layer,)* }
            }

            /// What the kernel starts with, in seconds.
            pub(crate) fn default(self) -> u32 {
                match self { $(State::$state => $default,)* }
            }

            /// The sysctl of flows without a service; one state has none.
            pub(crate) fn key(self) -> Option<Key> {
                match self { $(State::$state => $key,)* }
            }
        }
    };
}

// The order is that of CTA_TIMEOUT_TCP_* and CTA_TIMEOUT_UDP_* in nfnetlink_cttimeout.h.
states! {
    SynSent Tcp "syn_sent" 120 Some(Key::TcpTimeoutSynSent);
    SynRecv Tcp "syn_recv" 60 Some(Key::TcpTimeoutSynRecv);
    Established Tcp "established" 432_000 Some(Key::TcpTimeoutEstablished);
    FinWait Tcp "fin_wait" 120 Some(Key::TcpTimeoutFinWait);
    CloseWait Tcp "close_wait" 60 Some(Key::TcpTimeoutCloseWait);
    LastAck Tcp "last_ack" 30 Some(Key::TcpTimeoutLastAck);
    TimeWait Tcp "time_wait" 120 Some(Key::TcpTimeoutTimeWait);
    Close Tcp "close" 10 Some(Key::TcpTimeoutClose);
    SynSent2 Tcp "syn_sent2" 120 None;
    Retrans Tcp "retrans" 300 Some(Key::TcpTimeoutMaxRetrans);
    Unack Tcp "unack" 300 Some(Key::TcpTimeoutUnacknowledged);
    Unreplied Udp "unreplied" 30 Some(Key::UdpTimeout);
    Replied Udp "replied" 120 Some(Key::UdpTimeoutStream);
}
