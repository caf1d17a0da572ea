<?php
// The site of the server's tests: one page for each thing a request may do to its instance.

declare(strict_types=1);

require __DIR__ . '/src/isolation.php';
require __DIR__ . '/src/hostile.php';

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$name = substr((string) $path, 1);

match (true) {
    $name === '' => print('front'),
    $name === 'hello' => print('hello'),
    $name === 'server' => print(json_encode($_SERVER)),
    $name === 'constants' => print(json_encode([FROM_OUTSIDE, SITE_NAME])),
    $name === 'isolation' => print(json_encode(isolation($_GET['token'] ?? ''))),
    $name === 'echo' => print(strlen(file_get_contents('php://input')) . ' ' . md5(file_get_contents('php://input'))),
    $name === 'upload' => print(json_encode(upload())),
    function_exists("hostile_$name") => "hostile_$name"(),
    default => print("page $path " . $_SERVER['REQUEST_METHOD']),
};
