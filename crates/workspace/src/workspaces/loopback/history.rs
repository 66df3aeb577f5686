//! What a workspace remembers of its commands.

use super::*;
use crate::store::CommandQuery;

#[test]
fn a_page_is_told_with_how_many_there_are_of_its_kind() {
    super::in_namespace(module_path!(), "a_page_is_told_with_how_many_there_are_of_its_kind", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        for script in ["exit 0", "exit 3", "exit 0", "kill -9 $$", "exit 0"] {
            exec(&host, &id, shell(script)).await.unwrap();
        }
        let page = async |failed_only| {
            let query = CommandQuery { failed_only, newest_first: true, after: None, limit: 1 };
            let (_, page, total) = host.workspaces().logs(id.as_str(), query).await.unwrap();
            (page.commands[0].sequence, total)
        };
        assert_eq!((page(false).await, page(true).await), ((5, 5), (4, 2)));
    });
}
