<?php
// Everything a request can leave behind, looked for and then left.

declare(strict_types=1);

final class Counter
{
    public static array $seen = [];
}

function remembered(?string $token = null): array
{
    static $tokens = [];
    if ($token !== null) {
        $tokens[] = $token;
    }
    return $tokens;
}

function database(): PDO
{
    $database = new PDO('sqlite:' . __DIR__ . '/../data/notes.db');
    $database->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
    return $database;
}

// Each entry: how to see the trace of an earlier request (anything but null), and how to leave one.
function places(): array
{
    $site = dirname(__DIR__);
    $file = fn (string $path) => [fn () => file_exists($path) ? file_get_contents($path) : null,
        fn ($token) => file_put_contents($path, $token)];
    return [
        'global' => [fn () => $GLOBALS['left_behind'] ?? null, fn ($token) => $GLOBALS['left_behind'] = $token],
        'superglobal' => [fn () => $_SERVER['LEFT_BEHIND'] ?? null, fn ($token) => $_SERVER['LEFT_BEHIND'] = $token],
        'static variable' => [fn () => remembered() ?: null, fn ($token) => remembered($token)],
        'static property' => [fn () => Counter::$seen ?: null, fn ($token) => Counter::$seen[] = $token],
        'constant' => [fn () => defined('LEFT_BEHIND') ? LEFT_BEHIND : null, fn ($token) => define('LEFT_BEHIND', $token)],
        'function' => [fn () => function_exists('left_behind') ?: null, fn () => eval('function left_behind() {}')],
        'class' => [fn () => class_exists('LeftBehind') ?: null, fn () => eval('class LeftBehind {}')],
        'ini setting' => [fn () => ini_get('user_agent') ?: null, fn ($token) => ini_set('user_agent', $token)],
        'precision' => [fn () => ini_get('precision') === '14' ? null : ini_get('precision'), fn () => ini_set('precision', '5')],
        'environment' => [fn () => getenv('LEFT_BEHIND') ?: null, fn ($token) => putenv("LEFT_BEHIND=$token")],
        'time zone' => [fn () => date_default_timezone_get() === 'UTC' ? null : date_default_timezone_get(),
            fn () => date_default_timezone_set('Asia/Tokyo')],
        'encoding' => [fn () => mb_internal_encoding() === 'UTF-8' ? null : mb_internal_encoding(),
            fn () => mb_internal_encoding('ISO-8859-1')],
        'include path' => [fn () => str_contains(get_include_path(), '/left-behind') ?: null,
            fn () => set_include_path('/left-behind')],
        'working directory' => [fn () => getcwd() === '/tmp' ?: null, fn () => chdir('/tmp')],
        'umask' => [fn () => umask() === 0o022 ? null : umask(), fn () => umask(0o077)],
        'error handler' => [fn () => set_error_handler(null), fn () => set_error_handler(fn () => true) ?: true],
        'autoloader' => [fn () => spl_autoload_functions() ?: null, fn () => spl_autoload_register(fn () => null)],
        'stream wrapper' => [fn () => in_array('left', stream_get_wrappers(), true) ?: null,
            fn () => stream_wrapper_register('left', Counter::class)],
        'file in /tmp' => $file('/tmp/left-behind'),
        'file of the site' => $file("$site/left-behind.txt"),
        'changed file' => [fn () => file_get_contents("$site/files/note.txt") === "note\n" ? null : 'changed',
            fn ($token) => file_put_contents("$site/files/note.txt", $token)],
        'removed file' => [fn () => file_exists("$site/files/doomed.txt") ? null : 'removed', fn () => unlink("$site/files/doomed.txt")],
        'directory' => [fn () => is_dir("$site/files/left") ?: null, fn () => mkdir("$site/files/left")],
        'database row' => [fn () => database()->query("SELECT text FROM notes WHERE text <> 'first'")->fetchColumn() ?: null,
            fn ($token) => database()->prepare('INSERT INTO notes VALUES (?)')->execute([$token])],
        'database table' => [fn () => database()->query("SELECT name FROM sqlite_master WHERE name = 'left'")->fetchColumn() ?: null,
            fn () => database()->exec('CREATE TABLE "left" (a)') !== false],
        'session' => [fn () => start_session()['left'] ?? null, fn ($token) => $_SESSION['left'] = $token],
        'memory peak' => [fn () => memory_get_peak_usage() > 2 << 20 ?: null, fn () => strlen(str_repeat('x', 4 << 20))],
    ];
}

// All clients send the same session id; whoever's data were kept would be seen by all.
function start_session(): array
{
    if (session_status() !== PHP_SESSION_ACTIVE) {
        session_start(['use_strict_mode' => 0]);
    }
    return $_SESSION;
}

function isolation(string $token): array
{
    // Before anything seeds the generator: clones must not share their numbers.
    $drawn = mt_rand() . '-' . random_int(0, PHP_INT_MAX) . '-' . lcg_value();
    $traces = [];
    foreach (places() as $place => [$look]) {
        $trace = $look();
        if ($trace !== null) {
            $traces[$place] = $trace;
        }
    }
    $left = [];
    foreach (places() as $place => [$look, $leave]) {
        $leave($token);
        if ($look() !== null) {
            $left[] = $place;
        }
    }
    mt_srand(42);
    return [
        'token' => $token,
        'traces' => $traces,
        'left' => $left,
        'drawn' => $drawn,
        'bytes' => bin2hex(random_bytes(16)),
        'uniqid' => uniqid('', true),
        'sqlite' => database()->query('SELECT hex(randomblob(16))')->fetchColumn(),
        'time' => microtime(true),
        'request_time' => $_SERVER['REQUEST_TIME_FLOAT'],
    ];
}
