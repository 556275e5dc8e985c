//! The id of a question on its way to a client of the older era.
//!
//! The id says which task and which key the response answers, sealed, so that any instance can turn
//! the response into an answer and nobody can make one up. Each delivery has its own id.

use outlast_core::TaskId;

use crate::seal::{Purpose, Sealer};

/// What the id of a question says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct QuestionId {
    pub(crate) task: TaskId,
    pub(crate) key: String,
    /// Counts the deliveries of this question in the process that made them.
    pub(crate) delivery: u32,
}

impl QuestionId {
    pub(crate) fn seal(&self, sealer: &Sealer) -> String {
        let mut plain = Vec::with_capacity(20 + self.key.len());
        plain.extend_from_slice(self.task.as_bytes());
        plain.extend_from_slice(&self.delivery.to_be_bytes());
        plain.extend_from_slice(self.key.as_bytes());
        sealer.seal(Purpose::Question, &plain)
    }

    pub(crate) fn open(sealer: &Sealer, id: &str) -> Option<Self> {
        let plain = sealer.open(Purpose::Question, id)?;
        let (task, rest) = plain.split_first_chunk::<16>()?;
        let (delivery, key) = rest.split_first_chunk::<4>()?;
        Some(Self {
            task: TaskId::from_bytes(*task),
            delivery: u32::from_be_bytes(*delivery),
            key: String::from_utf8(key.to_vec()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_gives_back_what_it_was_made_of() {
        let sealer = Sealer::new([[3; 32]]);
        let question = QuestionId {
            task: TaskId::random(),
            key: "wie heißt du?".into(),
            delivery: 2,
        };
        let id = question.seal(&sealer);
        assert_eq!(QuestionId::open(&sealer, &id).unwrap(), question);
        assert_ne!(question.seal(&sealer), id);
        assert_eq!(QuestionId::open(&sealer, "7"), None);
    }
}
