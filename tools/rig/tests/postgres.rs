//! The throw-away Postgres: databases, templates, crashes.

use rig::postgres::Postgres;
use rig::wait::{self, SOON};
use sqlx::{Connection, Executor, PgConnection};

#[tokio::test]
async fn a_copied_database_has_what_its_template_has() {
    let postgres = Postgres::shared().await;
    let mut made = 0;
    for name in ["one", "two"] {
        let url = postgres
            .database_from("filled", name, async |url| {
                made += 1;
                let mut connection = PgConnection::connect(&url).await.unwrap();
                connection.execute("CREATE TABLE t AS SELECT 7 AS n").await.unwrap();
            })
            .await;
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let n: i32 = sqlx::query_scalar("SELECT n FROM t").fetch_one(&mut connection).await.unwrap();
        assert_eq!(n, 7);
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn all_connections_of_one_database_can_be_ended() {
    let postgres = Postgres::shared().await;
    let url = postgres.database("ended").await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    assert_eq!(postgres.terminate_backends(&url).await, 1);
    assert!(connection.execute("SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_crash_keeps_what_was_committed() {
    let postgres = Postgres::start().await;
    let url = postgres.database("crash").await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("CREATE TABLE t AS SELECT 7 AS n").await.unwrap();
    postgres.stop().await;
    assert!(PgConnection::connect(&url).await.is_err());
    postgres.start_again().await;
    postgres.restart_immediate().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let n: i32 = sqlx::query_scalar("SELECT n FROM t").fetch_one(&mut connection).await.unwrap();
    assert_eq!(n, 7);
    assert!(postgres.log().contains("automatic recovery"));
    wait::until("an answer", SOON, async || connection.ping().await.is_ok()).await;
}
