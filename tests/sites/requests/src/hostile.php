<?php
// What a site should not do, or what somebody makes it do.

declare(strict_types=1);

function hostile_loop(): never
{
    while (true) {
    }
}

function hostile_sleep(): void
{
    sleep(60);
}

function hostile_nap(): void
{
    usleep(300_000);
    echo 'rested';
}

function hostile_regex(): void
{
    ini_set('pcre.backtrack_limit', '1000000000');
    preg_match('/^(a+)+$/', str_repeat('a', 40) . 'b');
    echo 'matched';
}

function hostile_bomb(): void
{
    for ($all = []; ; $all[] = str_repeat('x', 1 << 20)) {
    }
}

function hostile_much(): void
{
    echo strlen(str_repeat('x', 24 << 20));
}

function hostile_limited(): void
{
    ini_set('memory_limit', '16M');
    hostile_bomb();
}

function hostile_flood(): void
{
    while (true) {
        echo str_repeat('flood ', 1000);
    }
}

function hostile_large(): void
{
    echo str_repeat('x', 4_000_000);
}

function hostile_deep(): void
{
    (function ($f) {
        return $f($f);
    })(fn ($f) => [$f($f)]);
}

function hostile_compare(): void
{
    $a = [];
    $b = [];
    for ($i = 0; $i < 200_000; $i++) {
        $a = [$a];
        $b = [$b];
    }
    echo $a == $b ? 'same' : 'different';
}

function hostile_headers(): void
{
    for ($i = 0; $i < 1000; $i++) {
        header("X-Header-$i: $i");
    }
    echo 'many headers';
}

function hostile_some_headers(): void
{
    for ($i = 0; $i < 100; $i++) {
        header("X-Header-$i: $i");
    }
    echo 'some headers';
}

function hostile_long_header(): void
{
    header('X-Long: ' . str_repeat('x', 40_000));
    echo 'a long header';
}

function hostile_split(): void
{
    // PHP itself refuses this one and warns.
    header("X-Split: a\r\nSet-Cookie: stolen=1");
    echo 'split';
}

function hostile_framing(): void
{
    header('Content-Length: 3');
    header('Transfer-Encoding: chunked');
    header('Connection: close');
    header('X-Request-Id: forged');
    echo 'longer than three';
}

function hostile_status(): void
{
    http_response_code(101);
    echo 'switched';
}

function hostile_fatal(): void
{
    nowhere();
}

function hostile_own_500(): void
{
    http_response_code(500);
    echo 'the site says it failed';
}

function hostile_exit(): never
{
    exit(3);
}

function hostile_spill(): void
{
    for ($i = 0; $i < 100; $i++) {
        if (@file_put_contents("/tmp/spill-$i", str_repeat('x', 1 << 20)) !== 1 << 20) {
            http_response_code(500);
            exit('no room');
        }
    }
    echo 'room for all';
}

function hostile_cope(): void
{
    for ($i = 0; $i < 100; $i++) {
        if (@file_put_contents("/tmp/spill-$i", str_repeat('x', 1 << 20)) !== 1 << 20) {
            exit("room for $i");
        }
    }
}

function hostile_fits(): void
{
    echo file_put_contents('/tmp/fits', str_repeat('x', 6 << 20));
}

function hostile_outside(): void
{
    $found = [];
    foreach (['/etc/passwd', '/proc/self/maps', '/proc/1/environ', '/dev/mem', '/sys/kernel', '../../../etc/passwd'] as $path) {
        $found[$path] = @file_get_contents($path);
    }
    $found['sockets'] = @stream_socket_client('tcp://127.0.0.1:80', $number, $text, 1) !== false;
    $found['commands'] = function_exists('shell_exec') ? @shell_exec('id') : null;
    echo json_encode(array_filter($found));
}

function upload(): array
{
    $file = $_FILES['file'] ?? null;
    $kept = $file !== null && move_uploaded_file($file['tmp_name'], dirname(__DIR__) . '/files/' . basename($file['name']));
    return ['size' => $file['size'] ?? null, 'error' => $file['error'] ?? null, 'kept' => $kept];
}
