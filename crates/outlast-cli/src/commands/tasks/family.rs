//! The tasks that a task has started, and those that they have started, as a tree.

use outlast_core::TaskStatus;
use outlast_mcp::client::{Client, TaskInfo};
use serde_json::json;

use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;

/// How many tasks are shown in all; whoever has more finds them in lists and in the dashboard.
const MOST: usize = 200;

/// One task below another.
#[derive(Debug)]
struct Member {
    id: String,
    status: TaskStatus,
    /// Tool and message.
    rest: String,
    /// In the order in which they were started.
    children: Vec<Member>,
    /// How many of its children are not among them.
    left_out: u64,
}

/// Prints the tasks below `task`, if there are any.
///
/// # Errors
/// The server does not answer.
pub(super) async fn print(client: &Client, task: &TaskInfo) -> Result<(), Trouble> {
    let mut room = MOST;
    let (children, left_out) = below(client, task, &mut room).await?;
    write("", &children, left_out, &mut |lead, member| match member {
        Some(member) => {
            let before = format!("{lead}{}  ", member.id);
            out::status_line(&before, member.status, &member.rest);
        }
        None => out::line(lead),
    });
    Ok(())
}

/// The children of a task, and how many of them found no room.
async fn below(
    client: &Client,
    task: &TaskInfo,
    room: &mut usize,
) -> Result<(Vec<Member>, u64), Trouble> {
    if task.children == 0 || *room == 0 {
        return Ok((Vec::new(), task.children));
    }
    let params = json!({"parent": task.id, "oldestFirst": true, "limit": *room});
    let page = client.request("outlast/tasks", &params).await?.to_value();
    let mut found = Vec::new();
    for child in page["tasks"].as_array().into_iter().flatten() {
        let child = TaskInfo::read(child.clone().into());
        found.push(child.map_err(|strange| {
            let sentence = format!("the server's list cannot be read: {strange}");
            Trouble::new(Exit::Failed, sentence)
        })?);
    }
    found.truncate(*room);
    *room -= found.len();
    let mut children = Vec::with_capacity(found.len());
    for child in found {
        let (below, left_out) = Box::pin(below(client, &child, room)).await?;
        let message = child.message.as_deref().unwrap_or_default();
        let message = message.lines().next().unwrap_or_default();
        let tool = child.tool.as_deref().unwrap_or_default();
        children.push(Member {
            status: child.shown_status(),
            id: child.id,
            rest: format!("{tool}  {message}"),
            children: below,
            left_out,
        });
    }
    let shown = u64::try_from(children.len()).unwrap_or(u64::MAX);
    Ok((children, task.children.saturating_sub(shown)))
}

/// Says each line with what stands before it; `None` for one that says all there is to say.
fn write(
    before: &str,
    members: &[Member],
    left_out: u64,
    say: &mut impl FnMut(&str, Option<&Member>),
) {
    for (place, member) in members.iter().enumerate() {
        let last = place + 1 == members.len() && left_out == 0;
        let (branch, below) = if last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        say(&format!("{before}{branch}"), Some(member));
        let below = format!("{before}{below}");
        write(&below, &member.children, member.left_out, say);
    }
    if left_out > 0 {
        say(&format!("{before}└─ … {left_out} more"), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, children: Vec<Member>, left_out: u64) -> Member {
        Member {
            id: id.into(),
            status: TaskStatus::Working,
            rest: String::new(),
            children,
            left_out,
        }
    }

    #[test]
    fn a_tree_looks_like_one() {
        let inner = member("b", vec![member("c", vec![], 0), member("d", vec![], 3)], 0);
        let tree = [member("a", vec![], 0), inner, member("e", vec![], 0)];
        let mut lines = Vec::new();
        write("", &tree, 2, &mut |lead, member| {
            let id = member.map_or("", |member| &member.id);
            lines.push(format!("{lead}{id}"));
        });
        let wanted = [
            "├─ a",
            "├─ b",
            "│  ├─ c",
            "│  └─ d",
            "│     └─ … 3 more",
            "├─ e",
            "└─ … 2 more",
        ];
        assert_eq!(lines, wanted);
    }
}
