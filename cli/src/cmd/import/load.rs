//! The rows of a dump into the database whose tables the driver has made.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Context;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::dump::{DumpError, Statement, What, at};
use super::insert::{Insert, Value};
use super::serialized::Replacement;

/// Rows and bytes of one transaction.
const ROWS_A_TRANSACTION: u64 = 10_000;
const BYTES_A_TRANSACTION: u64 = 8 << 20;

/// A database that is being filled. Nobody else sees it yet, so nothing is waited for.
pub(crate) struct Filling {
    conn: Connection,
    /// The columns of each table, in order.
    tables: HashMap<String, Vec<Column>>,
    /// Rows that the dump has, by table.
    pub(crate) rows: BTreeMap<String, u64>,
    rows_open: u64,
    bytes_open: u64,
}

struct Column {
    name: String,
    holds: Holds,
}

/// What values of a column are to SQLite.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    /// Numbers and text, which it turns into each other.
    Any,
    /// Bytes, into which it turns nothing.
    Bytes,
    /// A number, which dumps write as the bytes of its bits.
    Bits,
}

/// Tables of the driver and of SQLite begin so.
const OWN_PREFIXES: [&str; 2] = ["_wp_sqlite_", "sqlite_"];

/// Columns with their types, SQLite's and what the driver keeps of MySQL's.
const COLUMNS: &str =
    "SELECT name, type, (SELECT data_type FROM _wp_sqlite_mysql_information_schema_columns
    WHERE table_name = ?1 AND column_name = name) FROM pragma_table_info(?1)";

impl Filling {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Filling> {
        let conn = Connection::open(path).with_context(|| path.display().to_string())?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        for setting in [
            "journal_mode=OFF",
            "synchronous=OFF",
            "foreign_keys=OFF",
            "cache_size=-65536",
        ] {
            let mut statement = conn.prepare(&format!("PRAGMA {setting}"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        let mut tables = HashMap::new();
        let names = list(&conn, "SELECT name FROM sqlite_schema WHERE type = 'table'")?;
        for name in names {
            if OWN_PREFIXES.iter().any(|own| name.starts_with(own)) {
                continue;
            }
            let mut info = conn.prepare(COLUMNS)?;
            let column = |row: &rusqlite::Row<'_>| {
                let (kind, mysql): (String, Option<String>) = (row.get(1)?, row.get(2)?);
                let holds = match mysql.as_deref() {
                    Some("bit") => Holds::Bits,
                    _ if kind.eq_ignore_ascii_case("BLOB") => Holds::Bytes,
                    _ => Holds::Any,
                };
                let name = row.get(0)?;
                Ok(Column { name, holds })
            };
            let columns = info.query_map([&name], column)?.collect::<Result<_, _>>()?;
            tables.insert(name, columns);
        }
        conn.execute_batch("BEGIN")?;
        Ok(Filling {
            conn,
            tables,
            rows: BTreeMap::new(),
            rows_open: 0,
            bytes_open: 0,
        })
    }

    /// Takes the rows of a statement; `false` when it has none, or for a table that is not there.
    pub(crate) fn take(&mut self, statement: &Statement) -> Result<bool, DumpError> {
        let here = |what| at(statement.line, what);
        let Some(mut insert) = Insert::parse(&statement.text).map_err(here)? else {
            return Ok(false);
        };
        let Some(columns) = self.tables.get(&insert.table) else {
            return Ok(false);
        };
        let failed =
            |error: rusqlite::Error| here(What::Rows(format!("{}: {error}", insert.table)));
        let (sql, holds) = insertion(&insert, columns).map_err(here)?;
        let mut prepared = self.conn.prepare_cached(&sql).map_err(failed)?;
        let mut row = Vec::new();
        let mut rows = 0;
        while insert.next_row(&mut row).map_err(here)? {
            rows += 1;
            if row.len() != holds.len() {
                let what = format!(
                    "{}: row {rows} has {} values for {} columns",
                    insert.table,
                    row.len(),
                    holds.len()
                );
                return Err(here(What::Rows(what)));
            }
            let bound = row
                .iter()
                .zip(&holds)
                .map(|(value, &holds)| Bound { value, holds });
            prepared.execute(params_from_iter(bound)).map_err(|error| {
                here(What::Rows(format!("{}: row {rows}: {error}", insert.table)))
            })?;
        }
        drop(prepared);
        *self.rows.entry(insert.table).or_default() += rows;
        self.rows_open += rows;
        self.bytes_open += statement.text.len() as u64;
        if self.rows_open >= ROWS_A_TRANSACTION || self.bytes_open >= BYTES_A_TRANSACTION {
            let next = self.conn.execute_batch("COMMIT; BEGIN");
            next.map_err(|error| here(What::Rows(error.to_string())))?;
            (self.rows_open, self.bytes_open) = (0, 0);
        }
        Ok(true)
    }

    /// How many rows each table has.
    pub(crate) fn counts(&self) -> rusqlite::Result<BTreeMap<String, u64>> {
        let count = |name: &String| {
            let sql = format!("SELECT count(*) FROM {}", quoted(name));
            let count = self.conn.query_row(&sql, [], |row| row.get::<_, i64>(0))?;
            Ok((name.clone(), count.unsigned_abs()))
        };
        self.tables.keys().map(count).collect()
    }

    /// The value of an option of WordPress.
    pub(crate) fn option(&self, prefix: &str, name: &str) -> Option<String> {
        let table = quoted(&format!("{prefix}options"));
        let sql = format!("SELECT option_value FROM {table} WHERE option_name = ?1");
        self.conn.query_row(&sql, [name], |row| row.get(0)).ok()
    }

    /// Replaces an address wherever there is text. What identifies a post (`guid`) is no address, although it looks like
    /// one. Returns how often.
    pub(crate) fn replace(&self, replacement: &Replacement) -> rusqlite::Result<u64> {
        let mut count = 0;
        for (table, columns) in &self.tables {
            for column in columns.iter().filter(|column| column.name != "guid") {
                count += self.replace_in(replacement, table, &column.name)?;
            }
        }
        Ok(count)
    }

    fn replace_in(
        &self,
        replacement: &Replacement,
        table: &str,
        column: &str,
    ) -> rusqlite::Result<u64> {
        let (table, column) = (quoted(table), quoted(column));
        let mut count = 0;
        for needle in replacement.needles() {
            let sql = format!(
                "SELECT rowid FROM {table} WHERE typeof({column}) = 'text' AND instr(CAST({column} AS BLOB), ?1)"
            );
            let mut found = self.conn.prepare(&sql)?;
            let rows: Vec<i64> = found
                .query_map([needle], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for rowid in rows {
                let sql = format!("SELECT {column} FROM {table} WHERE rowid = ?1");
                let value = self
                    .conn
                    .prepare_cached(&sql)?
                    .query_row([rowid], |row| Ok(row.get_ref(0)?.as_bytes()?.to_vec()))?;
                if let Some((new, times)) = replacement.apply(&value) {
                    let sql = format!("UPDATE {table} SET {column} = ?1 WHERE rowid = ?2");
                    let text = Value::Text(new);
                    let bound = Bound {
                        value: &text,
                        holds: Holds::Any,
                    };
                    self.conn
                        .prepare_cached(&sql)?
                        .execute(rusqlite::params![bound, rowid])?;
                    count += times;
                }
            }
        }
        Ok(count)
    }

    /// Ends the last transaction.
    pub(crate) fn close(self) -> rusqlite::Result<()> {
        self.conn.execute_batch("COMMIT")?;
        self.conn.close().map_err(|(_, error)| error)
    }
}

/// The statement that takes a row, and what its values are.
fn insertion(insert: &Insert<'_>, columns: &[Column]) -> Result<(String, Vec<Holds>), What> {
    let all: Vec<String>;
    let names = match &insert.columns {
        Some(names) => names,
        None => {
            all = columns.iter().map(|column| column.name.clone()).collect();
            &all
        }
    };
    let mut holds = Vec::with_capacity(names.len());
    for name in names {
        let column = columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(name));
        let missing = || What::Rows(format!("{}: there is no column {name}", insert.table));
        holds.push(column.ok_or_else(missing)?.holds);
    }
    let verb = match (insert.replaces, insert.ignores) {
        (true, _) => "REPLACE",
        (false, true) => "INSERT OR IGNORE",
        (false, false) => "INSERT",
    };
    let list: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let sql = format!(
        "{verb} INTO {} ({}) VALUES ({})",
        quoted(&insert.table),
        list.join(","),
        vec!["?"; names.len()].join(",")
    );
    Ok((sql, holds))
}

/// A value for a column.
struct Bound<'a> {
    value: &'a Value,
    holds: Holds,
}

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let string = |text| match self.holds {
            Holds::Any => ValueRef::Text(text),
            Holds::Bytes => ValueRef::Blob(text),
            Holds::Bits => ValueRef::Integer(bits(text)),
        };
        Ok(ToSqlOutput::Borrowed(match self.value {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Number(text) => string(text.as_bytes()),
            Value::Text(text) | Value::Bytes(text) => string(text),
        }))
    }
}

/// The number that these bytes are, the highest first; MySQL has 64 bits at most.
fn bits(bytes: &[u8]) -> i64 {
    let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
    bytes.iter().fold(0, add).cast_signed()
}

fn list(conn: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    conn.prepare(sql)?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
