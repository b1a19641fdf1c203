//! The node's mind without ROS: newest-wins mailbox, frame admission, accounting, the loop.
