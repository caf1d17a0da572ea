/*
 * Compiling what no warm-up request has loaded.
 *
 * A script that is not in opcache when the snapshot is taken is compiled anew by every request that loads it. So the last
 * request before the snapshot (the variable ZAPP_COMPILE names the site's root) runs no script, but compiles all there are.
 * Compiling runs nothing and declares nothing; a file that PHP refuses is counted and otherwise left to the request that
 * loads it. What lies beside scripts that warm-up has loaded comes first, then what lies less deep, then what is smaller.
 *
 * Memory is what bounds it. A request that still compiles something needs room, and opcache keeps nothing more once it has
 * been full, so an eighth stays free, and a file whose code might not fit is left out: code is rarely more than
 * sixteen times as large as its text. Time is the other bound (ZAPP_COMPILE_MS), because the host ends a warm-up request
 * that takes too long, with all that it has compiled.
 */
#include "zapp.h"

#include "zend_exceptions.h"

#include "request.h"

static const char everything[] =
	"(static function (): void {"
	/* What is wrong with a file is for the request that loads it to say. */
	"	error_reporting(0);"
	"	$until = hrtime(true) + 1000000 * (int) $_SERVER['ZAPP_COMPILE_MS'];"
	"	$loaded = opcache_get_status()['scripts'] ?? [];"
	"	$near = [];"
	"	foreach ($loaded as $path => $_) $near[dirname($path)] = true;"
	"	$found = [];"
	"	$folders = [[rtrim($_SERVER['ZAPP_COMPILE'], '/'), 0]];"
	"	while ($folders) {"
	"		[$folder, $depth] = array_shift($folders);"
	"		foreach (scandir($folder === '' ? '/' : $folder) ?: [] as $name) {"
	"			$path = $folder . '/' . $name;"
	"			if ($name[0] === '.' || is_link($path)) continue;"
	"			if (is_dir($path)) $folders[] = [$path, $depth + 1];"
	"			elseif (preg_match('/\\.(php\\d?|phtml|inc|module)$/i', $name) && !isset($loaded[$path]))"
	"				$found[$path] = [!isset($near[$folder]), $depth, filesize($path)];"
	"		}"
	"	}"
	"	asort($found);"
	"	$room = opcache_get_status(false)['memory_usage'];"
	"	$reserve = ($room['used_memory'] + $room['free_memory'] + $room['wasted_memory']) / 8;"
	"	$free = $room['free_memory'] - $reserve;"
	"	$compiled = $refused = $left = 0;"
	"	foreach ($found as $path => [, , $size]) {"
	"		if (16 * $size > $free || hrtime(true) > $until) { $left++; continue; }"
	"		try { $done = opcache_compile_file($path); } catch (Throwable) { $done = false; }"
	"		$done ? $compiled++ : $refused++;"
	"		$free = opcache_get_status(false)['memory_usage']['free_memory'] - $reserve;"
	"	}"
	"	if ($refused || $left) echo \"$compiled scripts compiled, $refused refused by PHP, $left left out for want of room or time\";"
	"})();";

bool zapp_compile(void)
{
	if (REQUEST_VALUE("ZAPP_COMPILE") == NULL || REQUEST_VALUE("ZAPP_COMPILE_MS") == NULL) {
		return false;
	}
	zend_eval_string(everything, NULL, "zapp compile");
	if (EG(exception) != NULL) {
		zend_clear_exception();
	}
	return true;
}
