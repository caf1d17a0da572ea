<?php
// Runs the statements that shape a database with the plugin's MySQL driver, and prints what failed, as one line of JSON, and
// then the database. The statements come one a line: where they stand in the dump, and their bytes in base64.

require '/plugin/wp-includes/database/load.php';

$path = '/tmp/site.sqlite';
$failed = [];
$driver = new WP_MySQL_On_SQLite("mysql-on-sqlite:path=$path;dbname=wordpress", null, null, ['sqlite_journal_mode' => 'DELETE']);
foreach (file('/job/statements', FILE_IGNORE_NEW_LINES) as $statement) {
    [$line, $text] = explode(' ', $statement);
    try {
        $driver->query(base64_decode($text));
    } catch (Throwable $error) {
        $failed[] = ['line' => (int) $line, 'error' => $error->getMessage()];
    }
}
$driver = null;
echo json_encode($failed, JSON_INVALID_UTF8_SUBSTITUTE), "\n";
readfile($path);
