//! Actions as CLIP's tokens.

use instant_clip_tokenizer::{Token, Tokenizer};
use tch::Tensor;

use super::{
    super::TrainError,
    text::{CONTEXT, LEARNED},
};

/// The prompts of actions, "X X ... X cut with." with one X for each learned token: ids [C, 77], 0 behind the end.
///
/// # Errors
/// No action, or one whose name has more tokens than fit.
pub fn prompt_tokens(actions: &[String]) -> Result<Tensor, TrainError> {
    let tokenizer = Tokenizer::new();
    let room = CONTEXT as usize;
    let mut ids: Vec<i64> = Vec::with_capacity(actions.len() * room);
    for action in actions {
        let words = "X ".repeat(LEARNED as usize) + &action.replace('_', " ") + ".";
        let mut tokens = vec![tokenizer.start_of_text()];
        tokenizer.encode(&words, &mut tokens);
        tokens.push(tokenizer.end_of_text());
        if tokens.len() > room {
            let expected = format!("a name that makes a prompt of at most {room} tokens");
            return Err(TrainError::Values { what: "action", expected, found: action.clone() });
        }
        ids.extend(tokens.into_iter().map(Token::to_u16).map(i64::from));
        ids.resize(ids.len().next_multiple_of(room), 0);
    }
    if ids.is_empty() {
        let expected = "at least one".to_owned();
        return Err(TrainError::Values { what: "actions", expected, found: "none".to_owned() });
    }
    Ok(Tensor::from_slice(&ids).reshape([-1, CONTEXT]))
}
