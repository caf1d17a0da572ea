<?php const SECRET = "open sesame";
