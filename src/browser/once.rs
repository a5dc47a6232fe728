//! A future that is filled by whichever callback comes first.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::oneshot;

use crate::error::Error;

/// The end that fills. Clones share the one place; only the first call counts.
pub(crate) struct Filler<T>(Place<T>);

type Place<T> = Rc<RefCell<Option<oneshot::Sender<Result<T, Error>>>>>;

impl<T> Clone for Filler<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Filler<T> {
    /// Fills the place; gives the value back when it is filled already, or nobody waits any more.
    pub(crate) fn fill(&self, result: Result<T, Error>) -> Option<Result<T, Error>> {
        match self.0.borrow_mut().take() {
            Some(sender) => sender.send(result).err(),
            None => Some(result),
        }
    }
}

/// The end that waits.
pub(crate) struct Once<T>(oneshot::Receiver<Result<T, Error>>);

impl<T> Once<T> {
    pub(crate) fn new() -> (Filler<T>, Self) {
        let (sender, receiver) = oneshot::channel();
        (Filler(Rc::new(RefCell::new(Some(sender)))), Self(receiver))
    }

    pub(crate) async fn wait(self) -> Result<T, Error> {
        self.0.await.unwrap_or_else(|_| Err(Error::Internal("a callback was dropped".to_owned())))
    }
}
