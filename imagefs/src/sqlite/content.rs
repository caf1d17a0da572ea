//! What a database says, independent of how its pages lie: settings, schema, and a hash of each table's rows.
//!
//! Two databases with equal [`Contents`] answer every query alike. Rows are hashed in key order with their rowids, so a
//! rewrite that renumbers them shows.

use std::collections::{BTreeMap, HashSet};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::error::printable;

/// Settings a program can read back and that a rewrite must keep.
const SETTINGS: [&str; 5] = [
    "encoding",
    "page_size",
    "auto_vacuum",
    "user_version",
    "application_id",
];

/// Columns read in one query; a table may have as many columns as a result, but then there is no room for the rowid.
const COLUMNS_AT_ONCE: usize = 1000;

/// Everything a program can ask of a database, in a form that compares.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    settings: Vec<String>,
    schema: Vec<[Option<Vec<u8>>; 4]>,
    tables: BTreeMap<String, TableHash>,
    /// Tables that need what only their program defines.
    pub(super) unread: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct TableHash {
    rows: u64,
    hash: [u8; 32],
}

impl Contents {
    /// Reads everything. `undefined` tells which errors mean a definition that is missing here.
    pub(super) fn read(
        conn: &Connection,
        undefined: impl Fn(&rusqlite::Error) -> bool,
    ) -> Result<Contents> {
        let mut contents = Contents::default();
        for setting in SETTINGS {
            let value = conn.query_row(&format!("PRAGMA {setting}"), [], |row| {
                Ok(format!("{:?}", row.get_ref(0)?))
            })?;
            contents.settings.push(value);
        }
        contents.schema = schema(conn)?;
        for table in tables(conn)? {
            match table.hash(conn) {
                Ok(hash) => drop(contents.tables.insert(table.name, hash)),
                Err(error) if undefined(&error) => contents.unread.push(printable(&table.name)),
                Err(error) => return Err(error),
            }
        }
        Ok(contents)
    }

    /// What differs first, in words; `None` when nothing does.
    pub(super) fn difference(&self, other: &Contents) -> Option<Difference> {
        if self.settings != other.settings {
            return Some(Difference::Other(format!(
                "settings {:?} became {:?}",
                self.settings, other.settings
            )));
        }
        if self.schema != other.schema {
            return Some(Difference::Other("schema".to_owned()));
        }
        if !self.tables.keys().eq(other.tables.keys()) || self.unread != other.unread {
            return Some(Difference::Other("list of tables".to_owned()));
        }
        self.tables
            .iter()
            .find(|&(name, hash)| other.tables.get(name) != Some(hash))
            .map(|(name, hash)| {
                let shown = printable(name);
                match other.tables.get(name) {
                    Some(now) if now.rows == hash.rows => Difference::Rows(shown),
                    now => Difference::Other(format!(
                        "table {shown} had {} rows and has {}",
                        hash.rows,
                        now.map_or(0, |now| now.rows)
                    )),
                }
            })
    }
}

/// How two contents differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// The same number of rows in this table, but other rowids or values.
    Rows(String),
    /// Anything else.
    Other(String),
}

/// One table with rows of its own; views and virtual tables have none.
pub(super) struct Table {
    pub(super) name: String,
    columns: Vec<String>,
    /// A name for the rowid that no column shadows. `None` for WITHOUT ROWID.
    rowid: Option<&'static str>,
}

/// The tables of the main schema, in schema order.
pub(super) fn tables(conn: &Connection) -> Result<Vec<Table>> {
    let mut without_rowid = HashSet::new();
    let mut list =
        conn.prepare("SELECT name FROM pragma_table_list WHERE schema = 'main' AND wr")?;
    for name in list.query_map([], |row| row.get::<_, String>(0))? {
        without_rowid.insert(name?);
    }
    let mut list =
        conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0")?;
    let names: Vec<String> = list
        .query_map([], |row| row.get(0))?
        .collect::<Result<_>>()?;
    names
        .into_iter()
        .map(|name| {
            let columns = columns(conn, &name)?;
            let shadowed = |alias: &&str| {
                columns
                    .all
                    .iter()
                    .any(|column| column.eq_ignore_ascii_case(alias))
            };
            let rowid = if without_rowid.contains(&name) {
                None
            } else {
                ["rowid", "_rowid_", "oid"]
                    .into_iter()
                    .find(|alias| !shadowed(alias))
            };
            Ok(Table {
                rowid,
                columns: columns.stored,
                name,
            })
        })
        .collect()
}

struct Columns {
    all: Vec<String>,
    stored: Vec<String>,
}

/// Column names. Virtual generated columns are not stored: reading them would run expressions from the schema.
fn columns(conn: &Connection, table: &str) -> Result<Columns> {
    const VIRTUAL_GENERATED: i64 = 2;
    let mut columns = Columns {
        all: Vec::new(),
        stored: Vec::new(),
    };
    let mut info =
        conn.prepare_cached("SELECT name, hidden FROM pragma_table_xinfo(?1, 'main')")?;
    let mut rows = info.query([table])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if row.get::<_, i64>(1)? != VIRTUAL_GENERATED {
            columns.stored.push(name.clone());
        }
        columns.all.push(name);
    }
    Ok(columns)
}

impl Table {
    fn hash(&self, conn: &Connection) -> Result<TableHash> {
        let mut hasher = blake3::Hasher::new();
        let mut count = 0;
        for columns in self.columns.chunks(COLUMNS_AT_ONCE) {
            let wanted: Vec<String> = self
                .rowid
                .into_iter()
                .map(str::to_owned)
                .chain(columns.iter().map(|c| quote(c)))
                .collect();
            // A covering index would give another order, and its own copy of the values.
            let sql = format!(
                "SELECT {} FROM main.{} NOT INDEXED",
                wanted.join(","),
                quote(&self.name)
            );
            let mut statement = conn.prepare(&sql)?;
            let mut rows = statement.query([])?;
            count = 0;
            while let Some(row) = rows.next()? {
                for index in 0..wanted.len() {
                    feed(&mut hasher, row.get_ref(index)?);
                }
                count += 1;
            }
        }
        Ok(TableHash {
            rows: count,
            hash: *hasher.finalize().as_bytes(),
        })
    }
}

/// One value, with its type and length, so that neighbours cannot run together.
fn feed(hasher: &mut blake3::Hasher, value: ValueRef<'_>) {
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(number) => (1, &number.to_le_bytes()),
        ValueRef::Real(number) => (2, &number.to_bits().to_le_bytes()),
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(blob) => (4, blob),
    };
    hasher
        .update(&[kind])
        .update(&(bytes.len() as u64).to_le_bytes())
        .update(bytes);
}

/// All schema rows, sorted: their order is no promise of SQLite's.
fn schema(conn: &Connection) -> Result<Vec<[Option<Vec<u8>>; 4]>> {
    let mut statement = conn.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| {
        let mut cells = [const { None }; 4];
        for (index, cell) in cells.iter_mut().enumerate() {
            *cell = match row.get_ref(index)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
                _ => None,
            };
        }
        Ok(cells)
    })?;
    let mut rows: Vec<_> = rows.collect::<Result<_>>()?;
    rows.sort();
    Ok(rows)
}

/// An SQL identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
