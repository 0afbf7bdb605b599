{ globalTimeout = 900; }
