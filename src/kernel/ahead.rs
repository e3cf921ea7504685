//! Work that another thread does meanwhile; it is done when it is asked for where no thread is to be
//! had.
//!
//! Rule: the thread is in the namespaces, and has the rights, of the one that starts it.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

pub(crate) enum Ahead<T> {
    Started(JoinHandle<T>),
    Waiting(Box<dyn FnOnce() -> T>),
}

impl<T: Send + 'static> Ahead<T> {
    pub(crate) fn start(name: &str, work: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let work = Arc::new(work);
        let thread = Builder::new().name(name.to_owned()).spawn({
            let work = Arc::clone(&work);
            move || work()
        });
        match thread {
            Ok(thread) => Ahead::Started(thread),
            Err(_) => Ahead::Waiting(Box::new(move || work())),
        }
    }

    pub(crate) fn finish(self) -> T {
        match self {
            Ahead::Started(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Ahead::Waiting(work) => work(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn it_is_done_with_a_thread_and_without_one() {
        assert_eq!(Ahead::start("sum", || 1 + 2).finish(), 3);
        assert_eq!(Ahead::Waiting(Box::new(|| 1 + 2)).finish(), 3);
    }

    #[test]
    fn a_panic_of_the_thread_is_that_of_who_waits_for_it() {
        let work = || -> u8 { panic!("inside") };
        let panic = catch_unwind(|| Ahead::start("panic", work).finish()).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"inside"));
    }
}
