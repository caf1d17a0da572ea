<?php
// What a site loads, and what the tests change in copies of this file: LOAD stands for code before the freeze, SHOW for
// what is printed behind it.
$host = $_SERVER['HTTP_HOST'];
/*LOAD*/
zapp_freeze();
echo "$host asks {$_SERVER['HTTP_HOST']}{$_SERVER['REQUEST_URI']} ", count($_GET), count($_COOKIE), ' ', /*SHOW*/ 'good';
