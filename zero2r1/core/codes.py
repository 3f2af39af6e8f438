"""The table of error and warning codes: one page of plain text each, title first.

Z10x-Z12x config, Z13x data, Z14x rewards, Z2xx extras and models, Z3xx health of a run (warnings), Z4xx run folder
and checkpoints. A code is never given a second meaning; a test holds that every code in the sources is in this table.
"""

from collections.abc import Mapping
from types import MappingProxyType

CODES: Mapping[str, str] = MappingProxyType(
    {
        "Z100": "config file not found\nThe path or recipe name given does not exist. `zero2r1 recipes ls` lists the "
        "built-in recipes.",
        "Z101": "config file is not readable as YAML\nThe text breaks YAML's grammar: often a tab in the indentation, "
        "a missing space after a colon, or an unclosed quote or bracket.",
        "Z102": "duplicate key\nThe same key is written twice in one mapping. YAML readers keep one of them in "
        "silence; here it is an error, because one of the two values would be ignored.",
        "Z103": "YAML feature refused\nTags (`!!python/...`), aliases (`*name`), merge keys (`<<`) and nesting deeper "
        "than 32 levels are refused. A recipe is plain data; use `extends:` to share values.",
        "Z104": "unknown key\nThe config has no such key. Keys are never ignored: a typo that is ignored costs a run.",
        "Z105": "wrong value\nThe value has another type than the key, or lies outside its range.",
        "Z106": "missing key\nA key without a default is not set.",
        "Z107": "bad override\nAn override reads `a.b=value`: a dotted path, an equals sign, a YAML value. List items "
        'are named by number (`stages.0.steps=5`), keys with dots are quoted (`reward.custom."my.py::f"=1`).',
        "Z108": "`extends` goes round in a circle\nA config inherits from itself, directly or through others.",
        "Z109": "base of `extends` not found\nThe config named by `extends:` is neither a file nor a built-in recipe.",
        "Z110": "values do not go together\nEach value is allowed alone; the combination is not.",
        "Z111": "config is not a mapping\nA config file holds `key: value` lines at its top level.",
        "Z112": "unknown recipe\nNo built-in recipe has this name. `zero2r1 recipes ls` lists them.",
        "Z113": "unknown stage\nNo stage has this name. The message lists the stages of the recipe.",
        "Z114": "unsupported sampling for reinforcement learning\nThe policy gradient needs the probabilities of the "
        "distribution that was sampled: top_p below 1 and top_k above 0 change it.",
        "Z115": "override without effect\nThe override sets a default that every stage overrides itself, so nothing "
        "would change. Name the stage: `stages.<name>.<key>=value`.",
        "Z116": "no GPU to compute on\n`device: cuda` needs an NVIDIA driver and a torch that was built for CUDA; "
        "`zero2r1 doctor` says what is here. `device: cpu` computes on the processor, `auto` on a GPU if there is one.",
        "Z130": "data file not found\nThe path does not exist or is a directory.",
        "Z131": "dataset column missing\nThe file has no column of the expected name. Map it with "
        "`data.columns.<expected>=<yours>`.",
        "Z132": "no usable rows\nEvery row of the file was refused; the message counts them by reason.",
        "Z133": "data file malformed\nA line is not JSON (or the CSV has a broken row).",
        "Z134": "gold answer does not score\nBefore step 0 each sampled gold answer is scored as a well-formed reply; "
        "one that does not get full accuracy means that task and reward do not fit.",
        "Z135": "split too small\nMore held-out prompts were asked for than the task has.",
        "Z136": "task cannot be made\nThere is no family of this name, or the family has no problem that fits the "
        "settings, or no worked solutions.",
        "Z137": "data of another kind\nA column, a row or a result holds something else than it should, or two results "
        "cannot be compared.",
        "Z138": "no sample was kept\nEvery sample of a stage that makes supervised rows was dropped; the message "
        "counts them by reason.",
        "Z140": "reward not found\nA custom reward is named `file.py::function`; the file or the function is missing.",
        "Z141": "reward has a wrong signature\nA reward takes (prompt, completion) and returns a Score or a number, or "
        "follows TRL's form f(prompts, completions, **columns) -> list of numbers.",
        "Z142": "reward worker failed\nThe process that checks answers could not be started.",
        "Z143": "reward returned no usable number\nA reward is a finite number or None (could not judge).",
        "Z144": "no sandbox for programs that a model wrote\nNeither namespaces (tier A) nor Landlock with seccomp "
        "(tier B) hold on this machine, or the tier asked for does not. Model-written programs are never run without "
        "isolation unless you say so: `rewards.code.sandbox.unsafe_local_exec=true`, or `--unsafe-local-exec` where a "
        "verb has it.",
        "Z145": "judge cannot be used\nA language model that judges is not configured, or its settings are refused. "
        "Its address and model belong in the recipe, its key in an environment variable or a file.",
        "Z146": "weaker sandbox than usual\nNamespaces cannot be had here (a container often forbids them), so "
        "programs run under Landlock, seccomp and resource limits: tier B.",
        "Z200": "model not found\nThe model is neither a local directory or file, nor a known key, nor a hub id that "
        "can be reached. `zero2r1 models ls` lists known keys.",
        "Z201": "optional package missing\nThis feature needs an extra: pip install 'zero2r1[name]'.",
        "Z202": "model architecture not supported\nThe attention of this model (for example a sliding window shorter "
        "than the context) would be computed wrongly, so it is refused.",
        "Z203": "model file damaged\nThe sha256 of the file is not the expected one. Delete it and fetch it again.",
        "Z204": "remote code refused\nThe model wants to run Python code of its own. It is never run.",
        "Z205": "tokenizer cannot be used\nIt has no end-of-sequence token or no chat template, or its template or its "
        "vocabulary does not fit what is asked of it.",
        "Z206": "model could not be fetched\nThe package that carries the weights could not be downloaded.",
        "Z207": "context too short\nPrompt and new tokens together are longer than the model's positions.",
        "Z208": "unknown model key\n`zero2r1 models ls` lists the keys that can be fetched.",
        "Z209": "chat template unknown\nNo built-in chat template has this name.",
        "Z301": "rewards near zero\nMean reward below 0.05 after 20 steps: the reward is broken or the task too hard.",
        "Z310": "no learning signal\nIn most groups all samples have equal rewards, so their advantages are 0. A loss "
        "near 0 is normal in GRPO; this is not. Choose an easier or harder level, more samples per prompt, or start "
        "from a cold-start checkpoint.",
        "Z311": "many truncated answers\nMore than half of the samples hit the token limit: raise max_new_tokens.",
        "Z312": "entropy collapse\nThe policy is almost deterministic; exploration has ended.",
        "Z313": "far from the reference policy\nThe KL divergence is large; lower the learning rate or raise kl_coef.",
        "Z314": "large gradients\nThe gradient norm is above 10 before clipping.",
        "Z315": "format without answers\nThe format reward is full and accuracy is zero: format hacking.",
        "Z316": "languages mix\nThe share of thinking in the question's language is falling.",
        "Z317": "sampler and learner disagree\nThe sampler's weights are not the learner's (changed without telling "
        "it, or a version named twice), or their log-probabilities differ by more than numerics explain.",
        "Z318": "many reward errors\nMore than 5 % of the samples of a step could not be judged.",
        "Z320": "non-finite update skipped\nLoss or gradient was NaN or infinite. Nothing was changed by that step.",
        "Z321": "another machine than before\nThe checkpoint was written with another torch version, thread count or "
        "data type: the resumed run is right but not bit-equal.",
        "Z322": "answers grow, rewards do not\nLength has risen for 50 steps with a flat reward: look at the longest "
        "samples for reward hacking.",
        "Z323": "checkpoint damaged, older one used\nThe newest checkpoint failed its sha256 check; the run goes on "
        "from the one before.",
        "Z324": "two verifiers disagree\nA second, independent verifier gives other verdicts on a sample of the "
        "rollout. Look at the rows named in the stage's events: one of the two is wrong, or is being gamed.",
        "Z325": "answers that reach for the grader\nMore than 2 % of the answers hold constructs that attack graders "
        "rather than solve problems (sys.exit, stack frames, lying __eq__, conftest). Read some before training on.",
        "Z326": "reward up, held-out accuracy flat\nThe reward has risen and accuracy on held-out questions has not: "
        "the policy may be learning the reward instead of the task.",
        "Z327": "only the format improves\nThe format reward has risen while accuracy stood still.",
        "Z400": "run not found\nThere is no run folder of this name.",
        "Z401": "run is in use\nAnother process holds the lock of this run folder. Two writers would mix their files.",
        "Z402": "unsafe name\nNames of runs and stages are 1 to 64 letters, digits, dots, dashes and underscores, and "
        "start with a letter or digit.",
        "Z403": "damaged file\nA file is missing or its sha256 is not the one in MANIFEST.json.",
        "Z404": "no usable checkpoint\nCheckpoints exist but each is damaged. Starting anew in silence would hide "
        "that, so the run stops.",
        "Z405": "config does not fit the run\nThe run folder was made with another config.",
        "Z406": "not enough disk space\nLess space is free than two checkpoints need.",
        "Z407": "training diverged\nToo many updates in a row were non-finite. The last checkpoint is intact.",
        "Z408": "parent stage not finished\nThe stage needs the output of another one that is not there yet.",
        "Z409": "non-finite weights\nWeights with NaN or infinity are never saved.",
        "Z410": "damaged log\nA line in the middle of a JSON-lines file is not JSON. Only a torn last line is normal "
        "after a crash.",
        "Z411": "damaged JSON file\nThe file is not JSON, though such files are written whole or not at all.",
        "Z412": "output exists already\nA finished directory is never overwritten.",
        "Z413": "unknown id\nNo row of this run has the id asked for.",
        "Z199": "unknown error code\nNo page is written for this code.",
    }
)
