/* The message that publisher.c and subscriber.c share. */
#ifndef POSE_H
#define POSE_H

#include <stdbool.h>
#include <syncline.h>

struct pose {
    double x, y;
    uint32_t quality[2];
    char name[7];
    bool good;
};

static const struct syncline_field pose_fields[] = {
    SYNCLINE_FIELD(struct pose, x, SYNCLINE_F64),        SYNCLINE_FIELD(struct pose, y, SYNCLINE_F64),
    SYNCLINE_FIELD(struct pose, quality, SYNCLINE_U32), SYNCLINE_FIELD(struct pose, name, SYNCLINE_CHAR8),
    SYNCLINE_FIELD(struct pose, good, SYNCLINE_BOOL),
};
static const struct syncline_type pose_type = SYNCLINE_TYPE(struct pose, "robot.pose", pose_fields);

#endif
