<?php
// Says what the warm-up has left behind: scripts in the cache, and no files.
$files = array_merge(glob('/tmp/*'), glob(__DIR__ . '/made*')) ?: ['none'];
file_put_contents('/tmp/visited', 'x', FILE_APPEND);
file_put_contents(__DIR__ . '/made', 'x');
$cached = opcache_is_script_cached(realpath('warmed.php')) ? 'cached' : 'not cached';
echo "warmed.php is $cached, files: ", implode(' ', $files), ', name: ', $_GET['name'] ?? '';
