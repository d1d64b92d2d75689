use serde_json::Value;

use crate::config::Gate;
use crate::ports::PageRequest;
use crate::release::Look;

use super::{Answer, Looker, words};

impl Looker {
    /// Without a pointer the status decides. With one, an answer of 4xx or 5xx holds no figure, whatever its body says.
    pub(super) async fn of_page(&self, gate: &Gate, url: &str, pointer: Option<&str>) -> Answer {
        let request = PageRequest {
            url: url.to_owned(),
            headers: Vec::new(),
            limit: gate.timeout.std(),
        };
        let page = self.web.get(&request).await.map_err(|error| error.to_string())?;
        let good = (200..400).contains(&page.status);
        match pointer {
            None if good => Ok(Look::Decided(Ok(()))),
            None => Ok(Look::Decided(Err(format!("it answered {}", page.status)))),
            Some(_) if !good => Err(format!("it answered {}", page.status)),
            Some(pointer) => {
                let body: Value = serde_json::from_slice(&page.body).map_err(|_| "the answer is no JSON".to_owned())?;
                match body.pointer(pointer) {
                    Some(Value::Number(number)) => words::number(gate, &number.to_string()),
                    Some(Value::String(text)) => words::number(gate, text),
                    Some(_) => Err(format!("what the answer has at {pointer} is no number")),
                    None => Err(format!("the answer has nothing at {pointer}")),
                }
            }
        }
    }
}
