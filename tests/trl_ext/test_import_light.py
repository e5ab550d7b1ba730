import subprocess
import sys

CHECK = """
import sys

HEAVY = {"trl", "torch", "transformers", "accelerate", "datasets", "av", "PIL", "openai", "lmms_eval"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from trl_ext.rewards import answer_reward, format_reward, time_iou_reward
completion = [{"role": "assistant", "content": "<think>a</think><answer>red</answer>"}]
row = {"answer": ["red"], "video_segment": [None]}
print([reward([completion], **row) for reward in (answer_reward, format_reward, time_iou_reward)])
"""


def test_rewards_need_neither_trl_nor_torch():
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[[1.0], [1.0], [None]]\n", "")
