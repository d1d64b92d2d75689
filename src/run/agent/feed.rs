use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::{News, Watch};
use super::operation::Operation;

/// More is heard of no operation by one who comes late; the oldest goes first.
const KEPT: usize = 5_000;
/// Bytes of one piece of news.
const LONGEST: usize = 8 << 10;

/// All that was heard of one operation since this agent has had it, for any number of followers.
pub(super) struct Feed {
    heard: Mutex<Heard>,
    grown: watch::Sender<()>,
}

#[derive(Default)]
struct Heard {
    news: VecDeque<News>,
    /// How many were dropped before the first that is left.
    dropped: usize,
    end: Option<News>,
}

impl Feed {
    pub fn new() -> Self {
        Feed {
            heard: Mutex::default(),
            grown: watch::Sender::new(()),
        }
    }

    /// What the followers hear last; taken back by [`Feed::reopen`].
    pub fn end(&self, news: News) {
        self.change(|heard| heard.end = Some(news));
    }

    pub fn reopen(&self) {
        self.change(|heard| heard.end = None);
    }

    pub fn ended(&self) -> Option<News> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).end.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        self.grown.send_replace(());
    }
}

impl Watch for Feed {
    fn hear(&self, news: News) {
        // How it ends is said by the agent, once it is on the books.
        let News::Update(mut update) = news else { return };
        if update.text.len() > LONGEST {
            let cut = update.text.floor_char_boundary(LONGEST);
            update.text.truncate(cut);
            update.text.push('…');
        }
        self.change(|heard| {
            if heard.news.len() == KEPT {
                heard.news.pop_front();
                heard.dropped += 1;
            }
            heard.news.push_back(News::Update(update));
        });
    }
}

/// Hears everything of one operation from its beginning, then what comes.
pub struct Follower {
    operation: Arc<Operation>,
    grown: watch::Receiver<()>,
    stop: CancellationToken,
    next: usize,
    over: bool,
}

impl Follower {
    pub(super) fn new(operation: Arc<Operation>, stop: CancellationToken) -> Self {
        Follower {
            grown: operation.feed.grown.subscribe(),
            operation,
            stop,
            next: 0,
            over: false,
        }
    }

    /// `None` after the end, and when the agent stops before it.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            if self.over {
                return None;
            }
            self.grown.mark_unchanged();
            {
                let heard = self.operation.feed.heard.lock().unwrap_or_else(PoisonError::into_inner);
                self.next = self.next.max(heard.dropped);
                if let Some(news) = heard.news.get(self.next - heard.dropped) {
                    self.next += 1;
                    return Some(news.clone());
                }
                if let Some(end) = &heard.end {
                    self.over = true;
                    return Some(end.clone());
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.grown.changed() => changed.ok()?,
            }
        }
    }
}
